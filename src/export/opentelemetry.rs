//! Exports samples and stalls through the OpenTelemetry API. Sending them to a collector is the SDK's
//! concern.

mod attributes;
mod instruments;
mod spans;
#[cfg(test)]
mod tests;

use std::time::Instant;

use ::opentelemetry::InstrumentationScope;
use ::opentelemetry::global::{self, BoxedTracer};
use ::opentelemetry::metrics::Meter;

use super::Export;
use super::exports::Exports;
use super::ledger::{StallLedger, StallSink};
use super::names::Name;
use crate::admissions::Totals;
use crate::clock;
use crate::error::Error;
use crate::feed::{Exporter, guard};
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::stall::Stall;
use instruments::{RequestInstruments, SampleInstruments, StallAttributes, StallInstruments};
use spans::Spans;

static EXPORTS: Exports = Exports::on("loopmon-otel");

/// Exports to the global providers of [OpenTelemetry](https://docs.rs/opentelemetry): samples and
/// stalls to instruments, and each stall to a span.
///
/// ```
/// use loopmon::Monitor;
/// use loopmon::export::OpenTelemetry;
///
/// // Here `global::set_meter_provider` and `global::set_tracer_provider` have been called.
/// let monitor = Monitor::builder().name("main").build()?;
/// OpenTelemetry::new().start(&monitor)?;
/// # Ok::<(), loopmon::Error>(())
/// ```
///
/// # Instruments
///
/// | name | instrument | unit | what |
/// |---|---|---|---|
/// | `loopmon.lag` | histogram | `s` | the lag of each sample |
/// | `loopmon.task.count` | up-down counter | `{task}` | live tasks of the runtime |
/// | `loopmon.queue.length` | up-down counter | `{task}` | tasks in the runtime's global queue |
/// | `loopmon.worker.utilization` | gauge | `1` | share of all workers' time spent busy, 0 to 1 |
/// | `loopmon.sample.missed` | counter | `{sample}` | samples this exporter was too slow for |
/// | `loopmon.stall.count` | counter | `{stall}` | stalls, counted at the first report, by the cause in that report |
/// | `loopmon.stall.time` | counter | `s` | how long workers were stalled; grows during a stall |
/// | `loopmon.stall.age` | gauge | `s` | how long the longest open stall has lasted; 0 if none is open |
/// | `loopmon.stall.active` | up-down counter | `{worker}` | workers, root futures and instrumented futures that are stalled now |
/// | `loopmon.stall.report.missed` | counter | `{report}` | reports of stalls this exporter was too slow for |
/// | `loopmon.request.admitted` | counter | `{request}` | requests that `shed` admitted |
/// | `loopmon.request.refused` | counter | `{request}` | requests that `shed` refused, by reason |
///
/// Each instrument has the attribute `loopmon.monitor.name`: the [name](crate::Builder::name) of the
/// monitor, or `unnamed`. The instruments of a monitor that is
/// [not the first of its name](crate::export#several-monitors) also have `loopmon.monitor.index`.
/// `loopmon.stall.count` also has `loopmon.stall.cause`: `blocked`, `on_cpu`, `many_polls`,
/// `unattended`, `starved` or `unknown`, as in [`Cause`](crate::Cause). With
/// [`per_worker`](Self::per_worker), `loopmon.stall.count`, `.time` and `.age` have
/// `loopmon.worker.index`, or `loopmon.future.name` with the name of an instrumented future; when a monitor has
/// more than 500 of these, `other`. Those of a [root future](crate::Place::RootFuture) have neither. The counters of
/// requests are there once the monitor has a shedding policy (the `tower` feature); `loopmon.request.refused` also has
/// `loopmon.refusal.reason`: `lag`, `overdue` or `stalled`, as in `shed::Reason`.
///
/// The histogram suggests boundaries from a millisecond to ten seconds; a view of the SDK may set
/// others. Instruments of open stalls are updated ten times a second. When the monitor is detached,
/// gauges and up-down counters are set to 0.
///
/// # Spans
///
/// A stall is a span `loopmon.stall` from its beginning to its end. The span is a root: it belongs to no
/// other trace. Each report during the stall is an event `loopmon.stall.report`.
///
/// | attribute | of | what |
/// |---|---|---|
/// | `loopmon.monitor.name`, `loopmon.monitor.index`, `loopmon.worker.index` or `loopmon.future.name` | span | the monitor, and the worker or the instrumented future |
/// | `loopmon.stall.id` | span | the [id](crate::StallId) of the stall, as the logs of `export::Tracing` show it |
/// | `thread.id`, `thread.name` | span | the thread's id in the operating system, and its name in the program |
/// | `loopmon.task.id` | span | the task that was polled, if it is known |
/// | `loopmon.stall.end_unseen` | span | `true` if the monitor was detached during the stall, or the report of the end was missed: the span then ends when the stall was last known to be open |
/// | `code.stacktrace` | span | the stack in the latest report, with the `stack` feature |
/// | `loopmon.stall.duration` | event | the duration so far, in seconds |
/// | `loopmon.stall.cause`, `loopmon.stall.syscall` | both | the cause, and the system call of `blocked` |
/// | `code.function.name`, `code.file.path`, `code.line.number` | both | the [culprit](crate::StackTrace::culprit), with the `stack` feature: the innermost call of your own code on the stack |
///
/// Samplers see the attributes in the first two rows only. The status is left unset: nothing has
/// failed, and an error would count in the error rate of the service. A span is sent when it has
/// ended. During a stall, `loopmon.stall.active` and `loopmon.stall.age` show it; they are all that is
/// left of a stall that ends with the process. A sampler that keeps a share of all traces keeps that
/// share of stalls; the counters count all of them.
///
/// # The providers
///
/// The export uses the providers that are global at the time of [`start`](Self::start): set them
/// before. Without any, the export is discarded; providers set later do not change that, and do not
/// replace those of exports that have been started. After the providers are shut down, everything is
/// discarded. If a collector does not answer, the SDK drops what it cannot send, and neither loopmon
/// nor the monitored runtime notices.
///
/// # While the runtime is stuck
///
/// Measurements leave loopmon's thread at once. Whether they leave the process depends on where the
/// SDK exports. `PeriodicReader` and `BatchSpanProcessor` have their own threads, so an OTLP exporter
/// over HTTP with the blocking client (the default of `opentelemetry-otlp`) sends while the monitored
/// runtime is stuck; example 42 shows it. An exporter that needs the stuck runtime does not send: one
/// over gRPC, whose connection runs on the runtime that it was built in; one with the asynchronous
/// HTTP client; readers and processors of `opentelemetry_sdk::runtime::Tokio`. Build those in another
/// runtime.
///
/// Do not combine the `SimpleSpanProcessor` with the blocking client: it exports on loopmon's thread,
/// which runs a runtime, and inside a runtime that client panics in debug builds.
///
/// # Cost
///
/// In addition to the cost of any reader, a sample takes 0.2 µs with the SDK if samples are frequent,
/// and loopmon allocates nothing for it; `benches/README.md` in the repository has the numbers. The text
/// of a stack is made once for each stall.
#[derive(Debug, Clone, Default)]
#[must_use = "an exporter does nothing until it is started"]
pub struct OpenTelemetry {
    per_worker: bool,
}

impl OpenTelemetry {
    /// Creates an exporter whose instruments have an attribute for the monitor, and none for the worker.
    pub fn new() -> OpenTelemetry {
        OpenTelemetry::default()
    }

    /// Sets whether instruments of stalls have an attribute for the worker. Off by default, as it
    /// multiplies the number of series by that of the workers that have ever been stalled. Spans always
    /// have the attribute.
    pub fn per_worker(mut self, per_worker: bool) -> OpenTelemetry {
        self.per_worker = per_worker;
        self
    }

    /// Exports what `monitor` publishes from now on, to the providers that are global now.
    ///
    /// # Errors
    ///
    /// If this monitor is already exported here, or if the operating system refuses the exporter's
    /// thread or file descriptors.
    pub fn start(self, monitor: &Monitor) -> Result<Export, Error> {
        EXPORTS.start(monitor, move |name| {
            let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
                .with_version(env!("CARGO_PKG_VERSION"))
                .build();
            let meter = global::meter_with_scope(scope.clone());
            let tracer = global::tracer_with_scope(scope);
            ToProviders::new(name, self.per_worker, &meter, tracer)
        })
    }
}

/// Exports one monitor.
struct ToProviders {
    samples: SampleInstruments,
    stalls: StallInstruments,
    requests: RequestInstruments,
    ledger: StallLedger<StallAttributes>,
    spans: Spans,
}

impl ToProviders {
    fn new(name: &Name, per_worker: bool, meter: &Meter, tracer: BoxedTracer) -> ToProviders {
        let monitor = attributes::monitor(name);
        let mut stalls = StallInstruments::new(meter, &monitor);
        let all = (!per_worker).then(|| stalls.create(None));
        ToProviders {
            samples: SampleInstruments::new(meter, &monitor),
            requests: RequestInstruments::new(meter, &monitor),
            stalls,
            ledger: StallLedger::new(all),
            spans: Spans::new(tracer, &monitor),
        }
    }
}

impl Exporter for ToProviders {
    fn sample(&mut self, sample: &Sample, _: Instant) {
        self.samples.record(sample);
    }

    fn stall(&mut self, stall: &Stall, now: Instant) {
        // A meter that panics must not cost a span.
        guard(|| {
            self.ledger.stall(stall, now, &mut self.stalls);
            self.stalls.reports_missed(stall.missed);
        });
        self.spans.update(stall);
    }

    fn wants_tick(&self) -> bool {
        self.ledger.wants_tick()
    }

    fn tick(&mut self, now: Instant) {
        self.ledger.tick(now, &mut self.stalls);
    }

    fn requests(&mut self, totals: &Totals) {
        self.requests.record(totals);
    }

    fn detached(&mut self) {
        let now = clock::now();
        let open = self.ledger.take_open();
        self.spans.end(|id| {
            let mut open = open.iter();
            let stall = open.find(|stall| stall.id == id)?;
            Some(stall.lasted(now))
        });
        self.samples.reset();
        self.ledger.tick(now, &mut self.stalls);
    }
}
