//! Exports from their start to their end.

use loopmon::Monitor;
use loopmon::export::Metrics;

use super::endpoint::eventually_or;
use super::{Subject, endpoint};

#[test]
fn monitors_of_one_name_have_series_of_their_own() {
    let first = Subject::named("twins");
    let second = Subject::named("twins");
    let exports = [first.export(), second.export()];
    // The same monitor a second time would count twice.
    let error = Metrics::new().start(&first.monitor).unwrap_err();
    assert!(error.is_already_exported());
    for _ in 0..2 {
        first.runtime.spawn(std::future::pending::<()>());
    }
    second.runtime.spawn(std::future::pending::<()>());
    first.install();
    second.install();
    for _ in 0..3 {
        first.publish(1);
    }
    second.publish(1);
    let series = |name: &str, second: bool| {
        let series = endpoint().series_of("twins");
        let labels = if second {
            r#"{monitor="twins",index="1"} "#
        } else {
            r#"{monitor="twins"} "#
        };
        let start = format!("{name}{labels}");
        let found = series.iter().find_map(|line| line.strip_prefix(&start));
        found.map(str::to_owned)
    };
    let await_series = |name: &str, second: bool, expected: &str| {
        let seen = || series(name, second).as_deref() == Some(expected);
        eventually_or(seen, || format!("{:#?}", endpoint().series_of("twins")));
    };
    // The gauges are set after the histogram.
    await_series("loopmon_tasks", true, "1");
    await_series("loopmon_lag_seconds_count", false, "3");
    assert_eq!(series("loopmon_tasks", false).unwrap(), "2");
    assert_eq!(series("loopmon_lag_seconds_count", true).unwrap(), "1");
    let [export, other] = exports;
    first.end(export);
    // The other continues.
    second.publish(1);
    await_series("loopmon_lag_seconds_count", true, "2");
    assert_eq!(series("loopmon_tasks", true).unwrap(), "1");
    assert_eq!(series("loopmon_tasks", false).unwrap(), "0");
    second.end(other);
}

#[test]
fn runtimes_made_again_and_again_write_to_the_same_series() {
    let rounds = 50;
    for _ in 0..rounds {
        let subject = Subject::named("and-again");
        subject.export();
        subject.install();
        subject.publish(1);
        subject.stop();
    }
    endpoint().await_value("loopmon_lag_seconds_count", "and-again", f64::from(rounds));
    let series = endpoint().series_of("and-again");
    let most = 2 * (Metrics::BUCKETS.len() + 17);
    // An exporter that is about to subscribe to the next run may hold a monitor for a moment.
    assert!(series.len() <= most, "{series:#?}");
}

#[test]
fn without_a_name_it_is_unnamed() {
    let subject = Subject::new(|builder| builder);
    let export = subject.export();
    let other = Monitor::builder().build().unwrap();
    assert!(Metrics::new().start(&other).is_ok());
    subject.install();
    subject.publish(1);
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "unnamed");
    assert_eq!(count, Some(1.0));
}

#[test]
fn started_before_the_monitor_is_installed_it_exports_every_sample() {
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
fn dropping_the_export_lets_it_continue() {
    let subject = Subject::named("dropped");
    drop(subject.export());
    subject.install();
    subject.publish(1);
    endpoint().await_value("loopmon_lag_seconds_count", "dropped", 1.0);
}

#[test]
fn it_continues_when_the_monitor_is_stopped_and_installed_again() {
    let subject = Subject::named("again");
    let export = subject.export();
    subject.runtime.spawn(std::future::pending::<()>());
    for run in 1..=3 {
        subject.install();
        subject.publish(1);
        endpoint().await_value("loopmon_lag_seconds_count", "again", f64::from(run));
        assert_eq!(endpoint().value("loopmon_tasks", "again"), Some(1.0));
        // Once the runtime is no longer monitored, its gauges would be wrong.
        subject.stop();
        endpoint().await_value("loopmon_tasks", "again", 0.0);
    }
    subject.end(export);
    let count = endpoint().value("loopmon_lag_seconds_count", "again");
    assert_eq!(count, Some(3.0));
}
