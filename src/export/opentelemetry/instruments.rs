//! The instruments, and one monitor's attributes on them. Spans are elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use super::attributes;
use crate::export::buckets::BUCKETS;
use crate::export::ledger::StallSink;
use crate::stall::{Cause, Place};

/// The instruments of one monitor.
pub(super) struct Instruments {
    monitor: Vec<KeyValue>,
    lag: Histogram<f64>,
    pub(super) tasks: Level,
    pub(super) queue: Level,
    utilization: Gauge<f64>,
    samples_missed: Counter<u64>,
    stalls: Counter<u64>,
    stall_time: Counter<f64>,
    stall_age: Gauge<f64>,
    stalled: Level,
    reports_missed: Counter<u64>,
}

/// The attributes of one worker's stalls, or of all workers'.
pub(super) struct StallAttributes {
    shared: Vec<KeyValue>,
    /// The shared ones and the cause, by the cause's label.
    with_cause: BTreeMap<&'static str, Vec<KeyValue>>,
}

/// A number that goes up and down. The instrument takes only its changes.
pub(super) struct Level {
    counter: UpDownCounter<i64>,
    monitor: Vec<KeyValue>,
    value: i64,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, monitor: &[KeyValue]) -> Instruments {
        let counter = |name, unit, what| {
            let counter = meter.u64_counter(name).with_unit(unit);
            counter.with_description(what).build()
        };
        let gauge = |name, unit, what| {
            let gauge = meter.f64_gauge(name).with_unit(unit);
            gauge.with_description(what).build()
        };
        let level = |name, unit, what| {
            let counter = meter.i64_up_down_counter(name).with_unit(unit);
            Level {
                counter: counter.with_description(what).build(),
                monitor: monitor.to_vec(),
                value: 0,
            }
        };
        let new = Instruments {
            lag: meter
                .f64_histogram("loopmon.lag")
                .with_unit("s")
                .with_description("How long a ready task waited to run.")
                .with_boundaries(BUCKETS.to_vec())
                .build(),
            tasks: level("loopmon.task.count", "{task}", "Live tasks of the runtime."),
            queue: level(
                "loopmon.queue.length",
                "{task}",
                "Tasks in the runtime's global queue.",
            ),
            utilization: gauge(
                "loopmon.worker.utilization",
                "1",
                "Share of all workers' time spent busy.",
            ),
            samples_missed: counter(
                "loopmon.sample.missed",
                "{sample}",
                "Samples that the exporter was too slow for.",
            ),
            stalls: counter(
                "loopmon.stall.count",
                "{stall}",
                "Workers that did not return to their scheduler for longer than the threshold.",
            ),
            stall_time: meter
                .f64_counter("loopmon.stall.time")
                .with_unit("s")
                .with_description("How long workers were stalled.")
                .build(),
            stall_age: gauge(
                "loopmon.stall.age",
                "s",
                "How long the longest open stall has lasted.",
            ),
            stalled: level(
                "loopmon.stall.active",
                "{worker}",
                "Workers that are stalled now.",
            ),
            reports_missed: counter(
                "loopmon.stall.report.missed",
                "{report}",
                "Reports of stalls that the exporter was too slow for.",
            ),
            monitor: monitor.to_vec(),
        };
        new.samples_missed(0);
        new.reports_missed(0);
        new.stalled.counter.add(0, &new.monitor);
        new
    }

    pub(super) fn lag(&self, seconds: f64) {
        self.lag.record(seconds, &self.monitor);
    }

    pub(super) fn utilization(&self, share: f64) {
        self.utilization.record(share, &self.monitor);
    }

    pub(super) fn samples_missed(&self, missed: u64) {
        self.samples_missed.add(missed, &self.monitor);
    }

    pub(super) fn reports_missed(&self, missed: u64) {
        self.reports_missed.add(missed, &self.monitor);
    }
}

impl StallSink for Instruments {
    type Series = StallAttributes;

    fn create(&mut self, place: Option<&Place>) -> StallAttributes {
        let mut shared = self.monitor.clone();
        shared.extend(place.and_then(attributes::place));
        let with_cause = Cause::LABELS.map(|label| {
            let mut attributes = shared.clone();
            attributes.push(attributes::cause(label));
            self.stalls.add(0, &attributes);
            (label, attributes)
        });
        self.stall_time.add(0.0, &shared);
        self.stall_age.record(0.0, &shared);
        StallAttributes {
            shared,
            with_cause: with_cause.into(),
        }
    }

    fn count(&mut self, series: &StallAttributes, cause: Cause) {
        self.stalls.add(1, &series.with_cause[cause.label()]);
    }

    fn add_time(&mut self, series: &mut StallAttributes, stalled: Duration) {
        self.stall_time.add(stalled.as_secs_f64(), &series.shared);
    }

    fn set_longest(&mut self, series: &StallAttributes, lasted: Duration) {
        self.stall_age.record(lasted.as_secs_f64(), &series.shared);
    }

    fn set_open(&mut self, count: usize) {
        self.stalled.set(count);
    }
}

impl Level {
    pub(super) fn set(&mut self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.counter.add(value - self.value, &self.monitor);
        self.value = value;
    }
}
