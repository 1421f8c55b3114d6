//! The names, labels and descriptions of the metrics. Their values come from elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};

use crate::export::names::Name;
use crate::stall::{Cause, Place};

static METADATA: Metadata<'static> =
    Metadata::new("loopmon", Level::INFO, Some("loopmon::export::metrics"));

const LAG: &str = "loopmon_lag_seconds";
const TASKS: &str = "loopmon_tasks";
const QUEUE_DEPTH: &str = "loopmon_queue_depth";
const BUSY: &str = "loopmon_busy_ratio";
const SAMPLES_MISSED: &str = "loopmon_samples_missed_total";
const STALLS: &str = "loopmon_stalls_total";
const STALL_SECONDS: &str = "loopmon_stall_seconds_total";
const STALL_IN_PROGRESS: &str = "loopmon_stall_in_progress_seconds";
const STALLED_WORKERS: &str = "loopmon_stalled_workers";
const REPORTS_MISSED: &str = "loopmon_stall_reports_missed_total";

const COUNTERS: [(&str, Unit, &str); 4] = [
    (
        SAMPLES_MISSED,
        Unit::Count,
        "Samples that the exporter was too slow for.",
    ),
    (
        STALLS,
        Unit::Count,
        "Workers that did not return to their scheduler for longer than the threshold.",
    ),
    (
        STALL_SECONDS,
        Unit::Seconds,
        "How long workers were stalled, in whole seconds.",
    ),
    (
        REPORTS_MISSED,
        Unit::Count,
        "Reports of stalls that the exporter was too slow for.",
    ),
];

const GAUGES: [(&str, Unit, &str); 5] = [
    (TASKS, Unit::Count, "Live tasks of the runtime."),
    (
        QUEUE_DEPTH,
        Unit::Count,
        "Tasks in the runtime's global queue.",
    ),
    (
        BUSY,
        Unit::Count,
        "Share of all workers' time spent busy, 0 to 1.",
    ),
    (
        STALL_IN_PROGRESS,
        Unit::Seconds,
        "How long the longest open stall has lasted.",
    ),
    (
        STALLED_WORKERS,
        Unit::Count,
        "Workers and futures that are stalled now.",
    ),
];

/// The keys of one monitor.
pub(super) struct Keys {
    labels: Vec<Label>,
    pub(super) lag: Key,
    pub(super) tasks: Key,
    pub(super) queue_depth: Key,
    pub(super) busy: Key,
    pub(super) samples_missed: Key,
    pub(super) stalled_workers: Key,
    pub(super) reports_missed: Key,
}

/// The keys of one worker's stalls, or of all workers'.
pub(super) struct StallKeys {
    /// By the cause's label.
    stalls: BTreeMap<&'static str, Key>,
    pub(super) seconds: Key,
    pub(super) in_progress: Key,
}

impl Keys {
    pub(super) fn new(name: &Name) -> Keys {
        let mut labels = vec![Label::new("monitor", name.monitor.clone())];
        let index = name.index().map(|index| index.to_string());
        labels.extend(index.map(|index| Label::new("index", index)));
        let key = |name| Key::from_parts(name, labels.clone());
        Keys {
            lag: key(LAG),
            tasks: key(TASKS),
            queue_depth: key(QUEUE_DEPTH),
            busy: key(BUSY),
            samples_missed: key(SAMPLES_MISSED),
            stalled_workers: key(STALLED_WORKERS),
            reports_missed: key(REPORTS_MISSED),
            labels,
        }
    }

    /// Returns the key of a metric of this monitor.
    pub(super) fn with_label(&self, name: &'static str, label: Option<Label>) -> Key {
        let mut labels = self.labels.clone();
        labels.extend(label);
        Key::from_parts(name, labels)
    }

    pub(super) fn of_stalls(&self, place: Option<&Place>) -> StallKeys {
        let worker = place.and_then(Place::worker);
        let worker = worker.map(|worker| Label::new("worker", worker.to_string()));
        let future = place.and_then(Place::future);
        let place = worker.or_else(|| Some(Label::new("future", Arc::clone(future?))));
        let key = |name, cause: Option<&'static str>| {
            let cause = cause.map(|cause| Label::new("cause", cause));
            let mut labels = self.labels.clone();
            labels.extend(place.clone().into_iter().chain(cause));
            Key::from_parts(name, labels)
        };
        StallKeys {
            stalls: Cause::LABELS
                .map(|cause| (cause, key(STALLS, Some(cause))))
                .into(),
            seconds: key(STALL_SECONDS, None),
            in_progress: key(STALL_IN_PROGRESS, None),
        }
    }

    /// Sets the counters and the gauge of stalls to 0.
    pub(super) fn zero(&self, recorder: &dyn Recorder) {
        counter(recorder, &self.samples_missed).increment(0);
        counter(recorder, &self.reports_missed).increment(0);
        gauge(recorder, &self.stalled_workers).set(0.0);
    }
}

impl StallKeys {
    pub(super) fn stalls(&self, cause: Cause) -> &Key {
        &self.stalls[cause.label()]
    }

    /// Sets the counters and the gauge of stalls to 0.
    pub(super) fn zero(&self, recorder: &dyn Recorder) {
        for key in self.stalls.values() {
            counter(recorder, key).increment(0);
        }
        counter(recorder, &self.seconds).increment(0);
        gauge(recorder, &self.in_progress).set(0.0);
    }
}

pub(super) fn counter(recorder: &dyn Recorder, key: &Key) -> Counter {
    recorder.register_counter(key, &METADATA)
}

pub(super) fn gauge(recorder: &dyn Recorder, key: &Key) -> Gauge {
    recorder.register_gauge(key, &METADATA)
}

pub(super) fn histogram(recorder: &dyn Recorder, key: &Key) -> Histogram {
    recorder.register_histogram(key, &METADATA)
}

/// Describes all metrics to a recorder.
pub(super) fn describe(recorder: &dyn Recorder) {
    for (name, unit, description) in COUNTERS {
        recorder.describe_counter(name.into(), Some(unit), description.into());
    }
    for (name, unit, description) in GAUGES {
        recorder.describe_gauge(name.into(), Some(unit), description.into());
    }
    recorder.describe_histogram(
        LAG.into(),
        Some(Unit::Seconds),
        "How long a ready task waited to run.".into(),
    );
}
