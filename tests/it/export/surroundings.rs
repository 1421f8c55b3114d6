//! Recorders that fail, scrapes that hang, and odd names.

use std::net::TcpStream;
use std::sync::atomic::Ordering;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};

use super::endpoint::{PANICS, eventually, opened};
use super::{Subject, endpoint};
use crate::support::millis;

#[test]
fn a_recorder_that_panics_loses_a_call_and_no_more() {
    let subject = Subject::named("touchy");
    let export = subject.export();
    subject.install();
    subject.publish(1);
    endpoint().await_value("loopmon_lag_seconds_count", "touchy", 1.0);
    PANICS.store(true, Ordering::Relaxed);
    subject.publish(1);
    // The lag is recorded first; the panic comes after it.
    endpoint().await_value("loopmon_lag_seconds_count", "touchy", 2.0);
    PANICS.store(false, Ordering::Relaxed);
    subject.runtime.spawn(std::future::pending::<()>());
    subject.publish(1);
    endpoint().await_value("loopmon_tasks", "touchy", 1.0);
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "touchy");
    assert_eq!(count, Some(3.0));
}

#[test]
fn a_second_recorder_is_refused_and_the_first_continues() {
    let subject = Subject::named("second");
    let export = subject.export();
    let (refused, empty) = opened(PrometheusBuilder::install);
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, BuildError::FailedToSetGlobalRecorder(_)),
        "{refused}"
    );
    subject.install();
    subject.publish(1);
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "second");
    assert_eq!(count, Some(1.0));
    // Its endpoint runs all the same.
    eventually(|| matches!(empty.try_scrape(millis(1000)).as_deref(), Ok("")));
}

#[test]
fn clients_that_do_not_read_the_answer_delay_nobody() {
    let subject = Subject::named("asked");
    let export = subject.export();
    let _silent: Vec<TcpStream> = (0..32).map(|_| endpoint().connect()).collect();
    subject.install();
    subject.publish(1);
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "asked");
    assert_eq!(count, Some(1.0));
}

#[test]
fn any_name_is_allowed() {
    let long = "l".repeat(10_000);
    let names = [
        ("", ""),
        ("a b\tc", "a b\tc"),
        ("\"quoted\"", r#"\"quoted\""#),
        ("back\\slash", r"back\\slash"),
        ("two\nlines", r"two\nlines"),
        ("monitor=\"x\"} 1", r#"monitor=\"x\"} 1"#),
        ("日本語 🦀", "日本語 🦀"),
        (&long, &long),
    ];
    for (name, escaped) in names {
        let subject = Subject::named(name);
        let export = subject.export();
        subject.install();
        subject.publish(1);
        subject.end(export);
        let count = endpoint().value("loopmon_lag_seconds_count", escaped);
        assert_eq!(count, Some(1.0), "{name:?}");
    }
}
