//! What the instruments are called, and one monitor's part in them.

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use crate::export::buckets::BUCKETS;
use crate::stall::Cause;

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
    pub(super) stalled: Level,
    reports_missed: Counter<u64>,
}

/// What tells the stalls of one worker from others, or of all workers.
pub(super) struct Worker {
    attributes: Vec<KeyValue>,
    /// In the order of `Cause::LABELS`.
    causes: [Vec<KeyValue>; Cause::LABELS.len()],
}

/// A number of things that come and go. Instruments are told only by how much it has changed.
pub(super) struct Level {
    counter: UpDownCounter<i64>,
    monitor: Vec<KeyValue>,
    told: i64,
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
                told: 0,
            }
        };
        let new = Instruments {
            lag: meter
                .f64_histogram("loopmon.lag")
                .with_unit("s")
                .with_description("How late something that was ready ran.")
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
                "Samples the exporter was too slow for.",
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
                "How long the longest stall that goes on has lasted.",
            ),
            stalled: level(
                "loopmon.stall.active",
                "{worker}",
                "Workers that are stalled now.",
            ),
            reports_missed: counter(
                "loopmon.stall.report.missed",
                "{report}",
                "Reports of stalls the exporter was too slow for.",
            ),
            monitor: monitor.to_vec(),
        };
        new.samples_missed(0);
        new.reports_missed(0);
        new.stalled.counter.add(0, &new.monitor);
        new
    }

    /// Has what counts begin at 0.
    pub(super) fn worker(&self, worker: Option<usize>) -> Worker {
        let mut attributes = self.monitor.clone();
        attributes.extend(worker.map(super::worker));
        let causes = Cause::LABELS.map(|label| {
            let mut attributes = attributes.clone();
            attributes.push(super::cause(label));
            self.stalls.add(0, &attributes);
            attributes
        });
        self.stall_time.add(0.0, &attributes);
        self.stall_age.record(0.0, &attributes);
        Worker { attributes, causes }
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

    pub(super) fn stall(&self, worker: &Worker, cause: Cause) {
        self.stalls.add(1, &worker.causes[cause.index()]);
    }

    pub(super) fn stall_time(&self, worker: &Worker, seconds: f64) {
        self.stall_time.add(seconds, &worker.attributes);
    }

    pub(super) fn stall_age(&self, worker: &Worker, seconds: f64) {
        self.stall_age.record(seconds, &worker.attributes);
    }
}

impl Level {
    pub(super) fn set(&mut self, number: usize) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.counter.add(number - self.told, &self.monitor);
        self.told = number;
    }
}
