//! Exporters, which write samples and stalls to the tools that operators use. Reading them in a program
//! is what [`Samples`](crate::Samples) and [`Stalls`](crate::Stalls) are for.
//!
//! | exporter | feature | writes to |
//! |---|---|---|
//! | [`Metrics`] | `metrics` | the recorder of the `metrics` crate, and from there to Prometheus and others |
//! | [`OpenTelemetry`] | `opentelemetry` | the global providers of OpenTelemetry: instruments, and a span for each stall |
//! | [`Tracing`] | `tracing` | the subscriber of the `tracing` crate: logs, the console |
//!
//! Each exporter is created and started the same way, before the monitor is installed or after:
//!
//! ```text
//! let export = Metrics::new().start(&monitor)?;
//! ```
//!
//! [`docs::operating`](crate::docs::operating) explains the metrics, which alert to start with, and
//! what to do when it fires.
//!
//! # Threads and faults
//!
//! Each kind of exporter has its own thread, shared by all monitors of the process. An exporter is a
//! reader like any other: the monitored runtime never waits for it, and a stuck runtime does not stop
//! it.
//!
//! The recorder, the subscriber and the SDK that an exporter calls are not loopmon's, and their faults
//! stay with that exporter. A panic ends only the call that it happens in; the panic hook reports it.
//! A call that blocks delays this exporter for all monitors, as they share its thread; neither the
//! monitors nor the other exporters notice. What an exporter is too slow for is lost, oldest first, and
//! counted. What an exporter calls may call anything of loopmon, and may even drop the last handle of a
//! monitor.
//!
//! Other threads may be involved after that. An endpoint that is scraped answers during a stall only if
//! it does not run on the stuck runtime: see each exporter.
//!
//! # From start to end
//!
//! An export continues when its monitor is stopped and installed again. It ends when the monitor is
//! gone: no handle of it is left, and it is not installed. [`Export::finish`] ends it earlier. After a
//! reinstall, items published before a lagging exporter catches up are dropped uncounted; a stall
//! spanning both runs counts twice.
//!
//! # Several monitors
//!
//! A monitor is exported under its [name](crate::Builder::name), or as `unnamed` if it has none.
//! Several monitors may have one name, such as those of the runtimes that a framework creates: an
//! exporter numbers them. The first has the name alone; the others also have an `index`: 1, 2 and so
//! on. When a monitor is gone, its index is free, and the next monitor of that name continues its
//! counters, so runtimes that are created again and again do not add series without end. Any name is
//! allowed: exporters escape what their formats do not accept.
//!
//! # Cost
//!
//! The exporter's thread wakes up for each sample. Stall detection runs, as an exporter
//! [requests stalls](crate::Monitor::stalls).

#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
mod buckets;
mod exports;
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
mod ledger;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "tracing")]
mod tracing;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[cfg(feature = "metrics")]
pub use metrics::Metrics;
#[cfg(feature = "opentelemetry")]
pub use opentelemetry::OpenTelemetry;
#[cfg(feature = "tracing")]
pub use tracing::Tracing;

/// A running export of one monitor, from the `start` of an exporter. Dropping this detaches it: the
/// export continues.
#[derive(Debug)]
pub struct Export {
    task: JoinHandle<()>,
    finish: oneshot::Sender<()>,
}

impl Export {
    /// Ends the export after it has exported everything that the monitor has published so far. If
    /// the monitor is gone or has been stopped, that is everything it ever published.
    ///
    /// At the end of a program, [stop](crate::Monitor::stop) the monitor, await this call, and then
    /// flush the recorder, subscriber or SDK. This call waits as long as the exporter is stuck.
    ///
    /// # Cancel safety
    ///
    /// If the call is dropped before it completes, the export ends all the same, and nobody waits for
    /// the rest of it.
    pub async fn finish(self) {
        // Fails if the export has already ended.
        self.finish.send(()).ok();
        // Nothing cancels the task, and its panics are caught.
        self.task.await.ok();
    }
}
