mod panicking;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::metrics::{CounterFn, GaugeFn, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use chrono::DateTime;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::*;
use crate::stall::{Phase, StallId};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("loopmon_lag_seconds".to_owned()),
            Metrics::BUCKETS,
        )
        .unwrap()
        .build_recorder()
}

fn sample(lag: Duration, missed: u64) -> Sample {
    let mut sample = Sample::new(lag, 5, clock::utc_now());
    sample.missed = missed;
    sample.busy = 0.25;
    sample
}

fn stall(phase: Phase, worker: usize, began: i64, duration: Duration) -> Stall {
    Stall {
        id: StallId::of(&(worker, began)),
        began_at: DateTime::from_timestamp(began, 0).unwrap(),
        duration,
        ..Stall::of(worker, phase)
    }
}

/// The value in a scrape of a metric of the monitor `main`, given as `name,label=value,…`.
fn value(recorder: &PrometheusRecorder, series: &str) -> String {
    let (name, labels) = series.split_once(',').unwrap_or((series, ""));
    let mut start = format!("{name}{{monitor=\"main\"");
    for (label, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
        start += &format!(",{label}=\"{value}\"");
    }
    start += "} ";
    let text = recorder.handle().render();
    let value = text.lines().find_map(|line| line.strip_prefix(&start));
    value.unwrap_or("(none)").to_owned()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn samples_become_a_histogram_and_gauges() {
    let recorder = recorder();
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    ::metrics::with_local_recorder(&recorder, || {
        exporter.sample(&sample(seconds(0.002), 0), clock::now());
        exporter.sample(&sample(seconds(0.2), 3), clock::now());
    });
    let value = |series: &str| value(&recorder, series);
    assert_eq!(value("loopmon_lag_seconds_bucket,le=0.001"), "0");
    assert_eq!(value("loopmon_lag_seconds_bucket,le=0.0025"), "1");
    assert_eq!(value("loopmon_lag_seconds_bucket,le=+Inf"), "2");
    assert_eq!(value("loopmon_lag_seconds_sum"), "0.202");
    assert_eq!(value("loopmon_tasks"), "5");
    assert_eq!(value("loopmon_queue_depth"), "0");
    assert_eq!(value("loopmon_busy_ratio"), "0.25");
    assert_eq!(value("loopmon_samples_missed_total"), "3");
}

#[test]
fn all_that_counts_begins_at_zero() {
    let recorder = recorder();
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    ::metrics::with_local_recorder(&recorder, || exporter.begin());
    for cause in Cause::LABELS {
        let series = format!("loopmon_stalls_total,cause={cause}");
        assert_eq!(value(&recorder, &series), "0", "{series}");
    }
    for name in [
        "loopmon_stall_seconds_total",
        "loopmon_stall_in_progress_seconds",
        "loopmon_stalled_workers",
        "loopmon_stall_reports_missed_total",
    ] {
        assert_eq!(value(&recorder, name), "0", "{name}");
    }
}

#[test]
fn a_stall_shows_while_it_lasts() {
    let recorder = recorder();
    let value = |series| value(&recorder, series);
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    let t0 = clock::now();
    ::metrics::with_local_recorder(&recorder, || {
        exporter.stall(&stall(Phase::Started, 1, 7, seconds(0.1)), t0);
        assert!(exporter.wants_tick());
        assert_eq!(value("loopmon_stalls_total,cause=on_cpu"), "1");
        assert_eq!(value("loopmon_stalled_workers"), "1");

        exporter.tick(t0 + seconds(0.05));
        assert_eq!(value("loopmon_stall_in_progress_seconds"), "0.15");
        // At twice the reported duration the next report would have come, had the process run and
        // the worker been stuck.
        exporter.tick(t0 + seconds(60.0));
        assert_eq!(value("loopmon_stall_in_progress_seconds"), "0.2");
        assert_eq!(value("loopmon_stall_seconds_total"), "0");

        exporter.stall(&stall(Phase::Ongoing, 1, 7, seconds(1.5)), t0);
        exporter.tick(t0 + seconds(0.75));
        assert_eq!(value("loopmon_stall_in_progress_seconds"), "2.25");
        assert_eq!(value("loopmon_stall_seconds_total"), "2");

        let end = t0 + seconds(2.9);
        exporter.stall(&stall(Phase::Ended, 1, 7, seconds(2.9)), end);
        assert!(!exporter.wants_tick());
        assert_eq!(value("loopmon_stalled_workers"), "0");
        assert_eq!(value("loopmon_stall_in_progress_seconds"), "0");
        // The rest of 0.9 s is not lost.
        exporter.stall(&stall(Phase::Ended, 0, 8, seconds(0.15)), end);
        assert_eq!(value("loopmon_stall_seconds_total"), "3");
        assert_eq!(value("loopmon_stalls_total,cause=on_cpu"), "2");
    });
}

#[test]
fn a_lost_end_does_not_leave_a_stall_open() {
    let recorder = recorder();
    let value = |series| value(&recorder, series);
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    let t0 = clock::now();
    ::metrics::with_local_recorder(&recorder, || {
        exporter.stall(&stall(Phase::Started, 0, 7, seconds(0.1)), t0);
        exporter.stall(&stall(Phase::Started, 1, 7, seconds(0.1)), t0);
        let mut after_loss = stall(Phase::Ongoing, 1, 7, seconds(1.0));
        after_loss.missed = 4;
        exporter.stall(&after_loss, t0 + seconds(0.9));
        assert_eq!(value("loopmon_stall_reports_missed_total"), "4");
        assert_eq!(value("loopmon_stalled_workers"), "1");
        // It lasts after all. It is not counted twice.
        exporter.stall(
            &stall(Phase::Ongoing, 0, 7, seconds(2.0)),
            t0 + seconds(1.9),
        );
        assert_eq!(value("loopmon_stalled_workers"), "2");
        assert_eq!(value("loopmon_stalls_total,cause=on_cpu"), "2");
    });
}

#[test]
fn workers_have_a_label_only_if_it_is_set() {
    for (per_worker, series) in [(false, 6 + 1 + 1), (true, 2 * (6 + 1 + 1))] {
        let recorder = recorder();
        let mut exporter = ToRecorder::new(&Name::new("main", 0), per_worker);
        ::metrics::with_local_recorder(&recorder, || {
            for worker in [2, 5] {
                exporter.stall(
                    &stall(Phase::Started, worker, 7, seconds(1.0)),
                    clock::now(),
                );
            }
        });
        let text = recorder.handle().render();
        let of_stalls = text.lines().filter(|line| {
            line.starts_with("loopmon_stalls_total{")
                || line.starts_with("loopmon_stall_seconds_total{")
                || line.starts_with("loopmon_stall_in_progress_seconds{")
        });
        assert_eq!(of_stalls.count(), series, "{text}");
        assert_eq!(text.contains("worker=\"5\""), per_worker);
    }
}

#[test]
fn a_recorder_may_come_later_and_gets_everything() {
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    exporter.sample(&sample(Duration::ZERO, 0), clock::now());
    let recorder = recorder();
    ::metrics::with_local_recorder(&recorder, || {
        exporter.sample(&sample(Duration::ZERO, 0), clock::now());
    });
    let text = recorder.handle().render();
    assert!(text.contains("# HELP loopmon_lag_seconds "), "{text}");
    assert!(text.contains("loopmon_stalls_total{"), "{text}");
}

#[test]
fn odd_names_are_escaped() {
    let recorder = recorder();
    let mut exporter = ToRecorder::new(&Name::new("a \"b\"\n{c}=é", 0), false);
    ::metrics::with_local_recorder(&recorder, || {
        exporter.sample(&sample(Duration::ZERO, 0), clock::now());
    });
    let text = recorder.handle().render();
    let series = r#"loopmon_tasks{monitor="a \"b\"\n{c}=é"} 5"#;
    assert!(text.lines().any(|line| line == series), "{text}");
}

#[test]
fn the_table_has_all_metrics() {
    let recorder = recorder();
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    ::metrics::with_local_recorder(&recorder, || {
        exporter.sample(&sample(Duration::ZERO, 0), clock::now());
        exporter.stall(&stall(Phase::Started, 0, 7, seconds(1.0)), clock::now());
        exporter.requests(&Totals::default());
    });
    let text = recorder.handle().render();
    let exported: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let listed: BTreeSet<(&str, &str)> = include_str!("../metrics.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("/// | `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.0)))
        .collect();
    assert_eq!(exported, listed);
}

#[test]
fn a_sample_allocates_nothing_with_a_real_recorder() {
    let recorder = recorder();
    let mut exporter = ToRecorder::new(&Name::new("main", 0), true);
    let (sample, now) = (sample(Duration::ZERO, 0), clock::now());
    ::metrics::with_local_recorder(&recorder, || {
        exporter.sample(&sample, now);
        // The recorder itself allocates room for several samples at a time.
        let allocated = (0..3)
            .map(|_| allocation_counter::measure(|| exporter.sample(&sample, now)).count_total);
        assert_eq!(allocated.sum::<u64>(), 0);
    });
}

#[test]
fn a_recorder_that_forgets_gets_the_metrics_again() {
    let recorder = recorder();
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    let now = clock::now();
    ::metrics::with_local_recorder(&recorder, || {
        exporter.sample(&sample(Duration::ZERO, 0), now);
        assert_eq!(
            exporter.handles.as_ref().unwrap().until,
            now + Handles::KEPT_FOR
        );
        exporter.sample(&sample(Duration::ZERO, 0), now + seconds(9.0));
        assert_eq!(
            exporter.handles.as_ref().unwrap().until,
            now + Handles::KEPT_FOR
        );
        let later = now + Handles::KEPT_FOR;
        exporter.sample(&sample(Duration::ZERO, 0), later);
        assert_eq!(exporter.handles.unwrap().until, later + Handles::KEPT_FOR);
    });
}

#[test]
fn requests_show_once_there_is_a_policy_and_add_up() {
    let recorder = recorder();
    let value = |series| value(&recorder, series);
    let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
    let totals = |admitted, refused| Totals { admitted, refused };
    ::metrics::with_local_recorder(&recorder, || {
        exporter.begin();
        assert_eq!(value("loopmon_requests_admitted_total"), "(none)");
        exporter.requests(&totals(0, [0, 0, 0]));
        assert_eq!(value("loopmon_requests_admitted_total"), "0");
        assert_eq!(value("loopmon_requests_refused_total,reason=lag"), "0");
        exporter.requests(&totals(7, [2, 0, 0]));
        exporter.requests(&totals(9, [2, 3, 0]));
        exporter.requests(&totals(9, [2, 3, 0]));
    });
    assert_eq!(value("loopmon_requests_admitted_total"), "9");
    assert_eq!(value("loopmon_requests_refused_total,reason=lag"), "2");
    assert_eq!(value("loopmon_requests_refused_total,reason=overdue"), "3");
    assert_eq!(value("loopmon_requests_refused_total,reason=stalled"), "0");
}
