//! Samples and stalls, handed to the tools that operators look at.
//!
//! | exporter | feature | to |
//! |---|---|---|
//! | [`Metrics`] | `metrics` | the recorder of the `metrics` crate, and from there to Prometheus and others |
//! | [`OpenTelemetry`] | `opentelemetry` | the global providers of OpenTelemetry: instruments, and a span for each stall |
//! | [`Tracing`] | `tracing` | the subscriber of the `tracing` crate: logs, the console |
//!
//! Each is set up and started the same way, before the monitor is installed or after:
//!
//! ```text
//! let export = Metrics::new().start(&monitor)?;
//! ```
//!
//! What the metrics mean, which alert to start with and what to do when it fires is told in
//! [`docs::operating`](crate::docs::operating).
//!
//! # Where it runs
//!
//! Each exporter has a thread of its own, one for all monitors of the process. It is a reader as any
//! other is: the monitored runtime never waits for it, and a stuck one does not stop it.
//!
//! What it calls, the recorder, the subscriber or the SDK, is not loopmon's, and its faults stay with
//! it. A panic ends only that call; the panic hook reports it. One that blocks holds up the exports of
//! that exporter, of all monitors, as it is the same recorder for all of them; neither the monitors nor
//! the other exporters notice. What it is too slow for is lost, the oldest first, and counted. It may
//! call whatever loopmon has, also drop the last handle on a monitor.
//!
//! What it hands things on to may run elsewhere. An endpoint that is scraped answers during a stall
//! only if it does not run on the stuck runtime: see each exporter.
//!
//! # From start to end
//!
//! An export goes on when its monitor is stopped and installed again. It ends when the monitor is
//! gone: no handle on it is left, and it is not attached. [`Export::finish`] ends it before. What a
//! monitor tells of its next run while an exporter is behind with the last is neither handed on nor
//! counted as missed, and a stall that goes on meanwhile is counted for both.
//!
//! # Several monitors
//!
//! A monitor goes by its [name](crate::Builder::name), or by `unnamed` if it has none. Several may
//! have one name, as the runtimes that a framework makes for itself: an exporter numbers them. The
//! first has the name alone; the next have an `index` beside it, 1, 2 and so on. An index is free
//! again when its monitor is gone, and the next monitor of that name goes on with its counters; so
//! runtimes that are made again and again add no series without end. Any name will do: exporters
//! escape what their formats do not take.
//!
//! # Cost
//!
//! A wake-up of the exporter's thread for each sample, and stall detection, as somebody now
//! [asks for stalls](crate::Monitor::stalls).

#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
mod buckets;
mod feed;
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

/// A monitor's export, from the `start` of an exporter. Dropping this lets it go on.
#[derive(Debug)]
pub struct Export {
    task: JoinHandle<()>,
    finish: oneshot::Sender<()>,
}

impl Export {
    /// Ends the export once all has been handed on that the monitor has told so far. If the monitor
    /// is gone or has been stopped, that is all that it told.
    ///
    /// For the end of a program: [stop](crate::Monitor::stop) the monitor, await this, and then flush
    /// whatever the exporter hands things to. An exporter that is stuck keeps this waiting.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has ended the export as well, but not waited for it.
    pub async fn finish(self) {
        // It has ended by itself if nobody hears.
        self.finish.send(()).ok();
        // Neither cancelled nor ended by a panic: both are kept from it.
        self.task.await.ok();
    }
}
