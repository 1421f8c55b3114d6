//! From start to end.

use loopmon::Monitor;
use loopmon::export::Metrics;

use super::{Subject, endpoint};

#[test]
fn a_name_is_taken_once_and_free_again_when_its_monitor_is_gone() {
    let first = Subject::named("once");
    let export = first.export();
    let second = Subject::named("once");
    let error = Metrics::new().start(&second.monitor).unwrap_err();
    assert!(error.is_already_exported());
    // The same monitor a second time is no better.
    let error = Metrics::new().start(&first.monitor).unwrap_err();
    assert!(error.is_already_exported());
    first.end(export);
    let export = second.export();
    second.install();
    second.publish(1);
    second.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "once");
    assert_eq!(count, Some(1.0));
}

#[test]
fn without_a_name_it_is_unnamed_and_so_is_no_other() {
    let subject = Subject::new(|builder| builder);
    let export = subject.export();
    let other = Monitor::builder().build().unwrap();
    let error = Metrics::new().start(&other).unwrap_err();
    assert!(error.is_already_exported());
    subject.install();
    subject.publish(1);
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "unnamed");
    assert_eq!(count, Some(1.0));
}

#[test]
fn started_before_the_monitor_is_installed_it_has_every_sample() {
    let subject = Subject::named("early");
    let export = subject.export();
    subject.install();
    for lag in 0..100 {
        subject.publish(lag);
    }
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "early");
    assert_eq!(count, Some(100.0));
}

#[test]
fn dropping_the_export_lets_it_go_on() {
    let subject = Subject::named("dropped");
    drop(subject.export());
    subject.install();
    subject.publish(1);
    endpoint().await_value("loopmon_lag_seconds_count", "dropped", 1.0);
}

#[test]
fn it_goes_on_when_the_monitor_is_stopped_and_installed_again() {
    let subject = Subject::named("again");
    let export = subject.export();
    subject.runtime.spawn(std::future::pending::<()>());
    for run in 1..=3 {
        subject.install();
        subject.publish(1);
        endpoint().await_value("loopmon_lag_seconds_count", "again", f64::from(run));
        assert_eq!(endpoint().value("loopmon_tasks", "again"), Some(1.0));
        // Nothing is true of a runtime that is watched no more.
        subject.stop();
        endpoint().await_value("loopmon_tasks", "again", 0.0);
    }
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "again");
    assert_eq!(count, Some(3.0));
}
