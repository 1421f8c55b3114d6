//! The instruments, and one monitor's attributes on them. Spans are elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use super::attributes;
use crate::admissions::{Reason, Totals};
use crate::export::buckets::BUCKETS;
use crate::export::ledger::StallSink;
use crate::sample::Sample;
use crate::stall::{Cause, Place};

/// The instruments of one monitor's samples.
pub(super) struct SampleInstruments {
    monitor: Vec<KeyValue>,
    lag: Histogram<f64>,
    tasks: Level,
    queue: Level,
    utilization: Gauge<f64>,
    missed: Counter<u64>,
}

/// The instruments of one monitor's stalls.
pub(super) struct StallInstruments {
    monitor: Vec<KeyValue>,
    count: Counter<u64>,
    time: Counter<f64>,
    age: Gauge<f64>,
    active: Level,
    reports_missed: Counter<u64>,
}

/// The attributes of one worker's stalls, or of all workers'.
pub(super) struct StallAttributes {
    shared: Vec<KeyValue>,
    /// The shared ones and the cause, by the cause's label.
    with_cause: BTreeMap<&'static str, Vec<KeyValue>>,
}

/// The instruments of the requests that one monitor's shedding policies decide on.
pub(super) struct RequestInstruments {
    monitor: Vec<KeyValue>,
    /// The monitor's attributes and the reason, in the order of `Reason::ALL`.
    with_reason: [Vec<KeyValue>; Reason::ALL.len()],
    admitted: Counter<u64>,
    refused: Counter<u64>,
    written: Totals,
}

/// A number that goes up and down. The instrument takes only its changes.
struct Level {
    counter: UpDownCounter<i64>,
    monitor: Vec<KeyValue>,
    value: i64,
}

impl SampleInstruments {
    pub(super) fn new(meter: &Meter, monitor: &[KeyValue]) -> SampleInstruments {
        let level = |name, description| Level::new(meter, monitor, name, "{task}", description);
        let new = SampleInstruments {
            lag: meter
                .f64_histogram("loopmon.lag")
                .with_unit("s")
                .with_description("How long a ready task waited to run.")
                .with_boundaries(BUCKETS.to_vec())
                .build(),
            tasks: level("loopmon.task.count", "Live tasks of the runtime."),
            queue: level(
                "loopmon.queue.length",
                "Tasks in the runtime's global queue.",
            ),
            utilization: meter
                .f64_gauge("loopmon.worker.utilization")
                .with_unit("1")
                .with_description("Share of all workers' time spent busy.")
                .build(),
            missed: meter
                .u64_counter("loopmon.sample.missed")
                .with_unit("{sample}")
                .with_description("Samples that the exporter was too slow for.")
                .build(),
            monitor: monitor.to_vec(),
        };
        new.missed.add(0, &new.monitor);
        new
    }

    pub(super) fn record(&mut self, sample: &Sample) {
        self.lag.record(sample.lag.as_secs_f64(), &self.monitor);
        self.tasks.set(sample.tasks);
        self.queue.set(sample.queue_depth);
        self.utilization.record(sample.busy, &self.monitor);
        self.missed.add(sample.missed, &self.monitor);
    }

    /// Sets to 0 whatever describes the present.
    pub(super) fn reset(&mut self) {
        self.tasks.set(0);
        self.queue.set(0);
        self.utilization.record(0.0, &self.monitor);
    }
}

impl StallInstruments {
    pub(super) fn new(meter: &Meter, monitor: &[KeyValue]) -> StallInstruments {
        let new = StallInstruments {
            count: meter
                .u64_counter("loopmon.stall.count")
                .with_unit("{stall}")
                .with_description(
                    "Workers that did not return to their scheduler for longer than the threshold.",
                )
                .build(),
            time: meter
                .f64_counter("loopmon.stall.time")
                .with_unit("s")
                .with_description("How long workers were stalled.")
                .build(),
            age: meter
                .f64_gauge("loopmon.stall.age")
                .with_unit("s")
                .with_description("How long the longest open stall has lasted.")
                .build(),
            active: Level::new(
                meter,
                monitor,
                "loopmon.stall.active",
                "{worker}",
                "Workers and futures that are stalled now.",
            ),
            reports_missed: meter
                .u64_counter("loopmon.stall.report.missed")
                .with_unit("{report}")
                .with_description("Reports of stalls that the exporter was too slow for.")
                .build(),
            monitor: monitor.to_vec(),
        };
        new.reports_missed(0);
        new.active.counter.add(0, &new.monitor);
        new
    }

    pub(super) fn reports_missed(&self, missed: u64) {
        self.reports_missed.add(missed, &self.monitor);
    }
}

impl RequestInstruments {
    pub(super) fn new(meter: &Meter, monitor: &[KeyValue]) -> RequestInstruments {
        let counter = |name, description| {
            let counter = meter.u64_counter(name).with_unit("{request}");
            counter.with_description(description).build()
        };
        RequestInstruments {
            admitted: counter(
                "loopmon.request.admitted",
                "Requests that the shedding policies have admitted.",
            ),
            refused: counter(
                "loopmon.request.refused",
                "Requests that the shedding policies have refused.",
            ),
            with_reason: Reason::ALL.map(|reason| {
                let mut attributes = monitor.to_vec();
                attributes.push(attributes::reason(reason.label()));
                attributes
            }),
            monitor: monitor.to_vec(),
            written: Totals::default(),
        }
    }

    /// Counts what is new. A count of zero shows the counter.
    pub(super) fn record(&mut self, totals: &Totals) {
        let new = totals.since(&std::mem::replace(&mut self.written, *totals));
        self.admitted.add(new.admitted as u64, &self.monitor);
        for (attributes, refused) in self.with_reason.iter().zip(new.refused) {
            self.refused.add(refused as u64, attributes);
        }
    }
}

impl StallSink for StallInstruments {
    type Series = StallAttributes;

    fn create(&mut self, place: Option<&Place>) -> StallAttributes {
        let mut shared = self.monitor.clone();
        shared.extend(place.and_then(attributes::place));
        let with_cause = Cause::LABELS.map(|label| {
            let mut attributes = shared.clone();
            attributes.push(attributes::cause(label));
            self.count.add(0, &attributes);
            (label, attributes)
        });
        self.time.add(0.0, &shared);
        self.age.record(0.0, &shared);
        StallAttributes {
            shared,
            with_cause: with_cause.into(),
        }
    }

    fn count(&mut self, series: &StallAttributes, cause: Cause) {
        self.count.add(1, &series.with_cause[cause.label()]);
    }

    fn add_time(&mut self, series: &mut StallAttributes, stalled: Duration) {
        self.time.add(stalled.as_secs_f64(), &series.shared);
    }

    fn set_longest(&mut self, series: &StallAttributes, lasted: Duration) {
        self.age.record(lasted.as_secs_f64(), &series.shared);
    }

    fn set_open(&mut self, count: usize) {
        self.active.set(count);
    }
}

impl Level {
    fn new(
        meter: &Meter,
        monitor: &[KeyValue],
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Level {
        let counter = meter.i64_up_down_counter(name).with_unit(unit);
        Level {
            counter: counter.with_description(description).build(),
            monitor: monitor.to_vec(),
            value: 0,
        }
    }

    fn set(&mut self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.counter.add(value - self.value, &self.monitor);
        self.value = value;
    }
}
