//! Exports samples and stalls to the recorder of the `metrics` crate. Counting stalls is the ledger's
//! concern.

mod keys;
mod requests;
#[cfg(test)]
mod tests;

use std::ptr;
use std::time::{Duration, Instant};

use ::metrics::{Counter, Gauge, Histogram, Recorder, with_recorder};

use super::Export;
use super::buckets::BUCKETS;
use super::exports::Exports;
use super::ledger::{StallLedger, StallSink};
use super::names::Name;
use crate::admissions::Totals;
use crate::clock;
use crate::error::Error;
use crate::feed::{Exporter, guard};
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::stall::{Cause, Place, Stall};
use keys::{Keys, StallKeys, counter, gauge, histogram};
use requests::RequestCounters;

static EXPORTS: Exports = Exports::on("loopmon-metrics");

/// Exports to the recorder of the [`metrics`](https://docs.rs/metrics) crate.
///
/// ```
/// use loopmon::Monitor;
/// use loopmon::export::Metrics;
///
/// let monitor = Monitor::builder().name("main").build()?;
/// Metrics::new().start(&monitor)?;
/// # Ok::<(), loopmon::Error>(())
/// ```
///
/// # Metrics
///
/// | name | type | unit | what |
/// |---|---|---|---|
/// | `loopmon_lag_seconds` | histogram | seconds | the lag of each sample |
/// | `loopmon_tasks` | gauge | tasks | live tasks of the runtime |
/// | `loopmon_queue_depth` | gauge | tasks | tasks in the runtime's global queue |
/// | `loopmon_busy_ratio` | gauge | 0 to 1 | share of all workers' time spent busy |
/// | `loopmon_samples_missed_total` | counter | samples | samples this exporter was too slow for |
/// | `loopmon_stalls_total` | counter | stalls | stalls, counted at the first report, by the `cause` in that report |
/// | `loopmon_stall_seconds_total` | counter | seconds | how long workers were stalled; grows during a stall |
/// | `loopmon_stall_in_progress_seconds` | gauge | seconds | how long the longest open stall has lasted; 0 if none is open |
/// | `loopmon_stalled_workers` | gauge | workers | workers, root futures and instrumented futures that are stalled now |
/// | `loopmon_stall_reports_missed_total` | counter | reports | reports of stalls this exporter was too slow for |
/// | `loopmon_requests_admitted_total` | counter | requests | requests that `shed` admitted |
/// | `loopmon_requests_refused_total` | counter | requests | requests that `shed` refused, by `reason` |
///
/// Each metric has the label `monitor`: the [name](crate::Builder::name) of the monitor, or `unnamed`.
/// The metrics of a monitor that is [not the first of its name](crate::export#several-monitors) also
/// have the label `index`. `loopmon_stalls_total` also has the label `cause`: `blocked`, `on_cpu`,
/// `many_polls`, `unattended`, `starved` or `unknown`, as in [`Cause`](crate::Cause). With
/// [`per_worker`](Self::per_worker), `loopmon_stalls_total`, `loopmon_stall_seconds_total` and
/// `loopmon_stall_in_progress_seconds` have the label `worker`, or `future` with the name of an instrumented
/// future; when a monitor has more than 500 of these, `other`. Those of a
/// [root future](crate::Place::RootFuture) have neither. The metrics of requests are there once the monitor has a
/// shedding policy (the `tower` feature); `reason` is `lag`, `overdue` or `stalled`,
/// as in `shed::Reason`.
///
/// Counters of the `metrics` crate are whole numbers, so `loopmon_stall_seconds_total` counts whole
/// seconds; the fraction that is left of one stall is added to the next. Metrics of open stalls are
/// updated ten times a second. When the monitor is detached, all gauges are set to 0.
///
/// # The recorder
///
/// Metrics go to the global recorder. While none is installed, they are discarded; once one is, it
/// receives them from then on, so the order of the two does not matter. A process has one recorder:
/// installing a second fails, which does not affect loopmon. A recorder may forget metrics that have
/// been idle, and starts them again at 0, which for a counter looks like a restart of the process. When a
/// recorder has forgotten the metrics of samples, it misses up to ten seconds of further samples.
///
/// The recorder of `metrics-exporter-prometheus` (0.18) may lose a sample's lag that it is given in the moment
/// in which a scrape empties the histogram.
///
/// The recorder chooses the buckets of a histogram. Some recorders compute quantiles instead, which
/// cannot be aggregated over processes. [`BUCKETS`](Self::BUCKETS) suit lag:
///
/// ```
/// use loopmon::export::Metrics;
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lag = Matcher::Full("loopmon_lag_seconds".to_owned());
/// let builder = PrometheusBuilder::new().set_buckets_for_metric(lag, Metrics::BUCKETS)?;
/// # builder.build_recorder();
/// # Ok(())
/// # }
/// ```
///
/// `PrometheusBuilder::install` serves scrapes on its own thread if it is called outside of any
/// runtime. Inside a runtime it serves them on that runtime, and a scrape gets no answer while the
/// runtime is stuck. So call it in a plain `main`, before the runtime is built.
///
/// # Cost
///
/// In addition to the cost of any reader, a sample takes 0.03 µs with the recorder of
/// `metrics-exporter-prometheus` if samples are frequent, and 15 µs at the default interval, as the
/// CPU's caches are cold by then. `benches/README.md` in the repository has the numbers. The metrics are
/// registered again every ten seconds; in between, a sample allocates nothing here.
#[derive(Debug, Clone, Default)]
#[must_use = "an exporter does nothing until it is started"]
pub struct Metrics {
    per_worker: bool,
}

impl Metrics {
    /// Buckets for a histogram of lag, in seconds: from a millisecond to ten seconds.
    pub const BUCKETS: &'static [f64] = &BUCKETS;

    /// Creates an exporter whose metrics have a label for the monitor, and none for the worker.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Sets whether metrics of stalls have a label for the worker. Off by default, as it multiplies the
    /// number of series by that of the workers that have ever been stalled.
    pub fn per_worker(mut self, per_worker: bool) -> Metrics {
        self.per_worker = per_worker;
        self
    }

    /// Exports what `monitor` publishes from now on.
    ///
    /// # Errors
    ///
    /// If this monitor is already exported here, or if the operating system refuses the exporter's
    /// thread or file descriptors.
    pub fn start(self, monitor: &Monitor) -> Result<Export, Error> {
        EXPORTS.start(monitor, move |name| ToRecorder::new(name, self.per_worker))
    }
}

/// Writes one monitor's metrics.
struct ToRecorder {
    keys: Keys,
    ledger: StallLedger<StallMetrics>,
    /// The address of the recorder that has the descriptions and zeros.
    prepared: Option<usize>,
    handles: Option<Handles>,
    requests: RequestCounters,
}

/// The metrics that a sample is written to. Registering them allocates.
struct Handles {
    lag: Histogram,
    tasks: Gauge,
    queue_depth: Gauge,
    busy: Gauge,
    samples_missed: Counter,
    /// When to register them again: a recorder may forget metrics that were idle for a while.
    until: Instant,
}

/// The metrics of one worker's stalls, or of all workers'.
struct StallMetrics {
    keys: StallKeys,
    /// The part of the stalled time that is not a whole second yet.
    carried: Duration,
}

/// The ledger's sink: the recorder of this moment.
struct Sink<'a> {
    recorder: &'a dyn Recorder,
    keys: &'a Keys,
}

impl ToRecorder {
    fn new(name: &Name, per_worker: bool) -> ToRecorder {
        let keys = Keys::new(name);
        let all = (!per_worker).then(|| StallMetrics::new(keys.of_stalls(None)));
        ToRecorder {
            requests: RequestCounters::new(&keys),
            keys,
            ledger: StallLedger::new(all),
            prepared: None,
            handles: None,
        }
    }

    /// Describes the metrics to a new recorder and sets them to 0, so that they show before anything
    /// happens.
    fn prepare(&mut self, recorder: &dyn Recorder) {
        let address = ptr::from_ref(recorder).addr();
        if self.prepared.replace(address) != Some(address) {
            self.handles = None;
            keys::describe(recorder);
            self.keys.zero(recorder);
            for series in self.ledger.series.values() {
                series.keys.zero(recorder);
            }
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut StallLedger<StallMetrics>, &mut Sink<'_>)) {
        with_recorder(|recorder| {
            // Its panic must not keep the ledger from a report.
            guard(|| self.prepare(recorder));
            let keys = &self.keys;
            write(&mut self.ledger, &mut Sink { recorder, keys });
        });
    }
}

impl Handles {
    const KEPT_FOR: Duration = Duration::from_secs(10);

    fn new(recorder: &dyn Recorder, keys: &Keys, now: Instant) -> Handles {
        Handles {
            lag: histogram(recorder, &keys.lag),
            tasks: gauge(recorder, &keys.tasks),
            queue_depth: gauge(recorder, &keys.queue_depth),
            busy: gauge(recorder, &keys.busy),
            samples_missed: counter(recorder, &keys.samples_missed),
            until: now + Handles::KEPT_FOR,
        }
    }
}

/// Dropping a handle may call the recorder. If that panics, dropping the other handles must not panic
/// during the unwinding, which would abort the process.
impl Drop for Handles {
    fn drop(&mut self) {
        guard(|| self.lag = Histogram::noop());
        for gauge in [&mut self.tasks, &mut self.queue_depth, &mut self.busy] {
            guard(|| *gauge = Gauge::noop());
        }
        guard(|| self.samples_missed = Counter::noop());
    }
}

impl StallMetrics {
    fn new(keys: StallKeys) -> StallMetrics {
        StallMetrics {
            keys,
            carried: Duration::ZERO,
        }
    }
}

impl StallSink for Sink<'_> {
    type Series = StallMetrics;

    fn create(&mut self, place: Option<&Place>) -> StallMetrics {
        let new = StallMetrics::new(self.keys.of_stalls(place));
        new.keys.zero(self.recorder);
        new
    }

    fn count(&mut self, series: &StallMetrics, cause: Cause) {
        counter(self.recorder, series.keys.stalls(cause)).increment(1);
    }

    fn add_time(&mut self, series: &mut StallMetrics, stalled: Duration) {
        series.carried += stalled;
        let seconds = series.carried.as_secs();
        series.carried -= Duration::from_secs(seconds);
        counter(self.recorder, &series.keys.seconds).increment(seconds);
    }

    fn set_longest(&mut self, series: &StallMetrics, lasted: Duration) {
        gauge(self.recorder, &series.keys.in_progress).set(lasted);
    }

    fn set_open(&mut self, count: usize) {
        gauge(self.recorder, &self.keys.stalled_workers).set(count as f64);
    }
}

impl Exporter for ToRecorder {
    fn begin(&mut self) {
        with_recorder(|recorder| self.prepare(recorder));
    }

    fn sample(&mut self, sample: &Sample, now: Instant) {
        with_recorder(|recorder| {
            self.prepare(recorder);
            let handles = self.handles.take().filter(|handles| now < handles.until);
            let handles = handles.unwrap_or_else(|| Handles::new(recorder, &self.keys, now));
            handles.lag.record(sample.lag);
            handles.tasks.set(sample.tasks as f64);
            handles.queue_depth.set(sample.queue_depth as f64);
            handles.busy.set(sample.busy);
            handles.samples_missed.increment(sample.missed);
            self.handles = Some(handles);
        });
    }

    fn stall(&mut self, stall: &Stall, now: Instant) {
        self.write(|ledger, sink| {
            ledger.stall(stall, now, sink);
            counter(sink.recorder, &sink.keys.reports_missed).increment(stall.missed);
        });
    }

    fn wants_tick(&self) -> bool {
        self.ledger.wants_tick()
    }

    fn tick(&mut self, now: Instant) {
        self.write(|ledger, sink| ledger.tick(now, sink));
    }

    fn requests(&mut self, totals: &Totals) {
        with_recorder(|recorder| self.requests.write(totals, recorder));
    }

    fn detached(&mut self) {
        self.ledger.take_open();
        self.write(|ledger, sink| {
            let keys = sink.keys;
            for key in [&keys.tasks, &keys.queue_depth, &keys.busy] {
                gauge(sink.recorder, key).set(0.0);
            }
            ledger.tick(clock::now(), sink);
        });
    }
}
