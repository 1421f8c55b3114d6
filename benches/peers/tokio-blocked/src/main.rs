//! The layer of tokio-blocked beside a log, as documented. The log's writer is what hears its warnings.

use std::io::{self, Write};

use tokio::runtime::{Builder, Runtime};
use tokio_blocked::TokioBlockedLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use workload::{Outcome, Peer, Place, Reports, THRESHOLD};

struct Blocked;

/// Hears a line of the log. It is written on the thread that was blocked, which the log can show.
struct Log(Reports);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if line.contains("task_poll_blocked") {
            let place = tokio::runtime::worker_index().map_or(Place::Unknown, Place::Worker);
            self.0.tell(place, line.replace("\" callsite.line=", ":"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer for Blocked {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Blocked)> {
        Ok((builder.build()?, Blocked))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        let log = move || Log(reports.clone());
        // user
        let fmt = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(log)
            .with_filter(EnvFilter::new("warn"));
        let blocked = TokioBlockedLayer::new().with_warn_busy_single_poll(Some(THRESHOLD));
        tracing_subscriber::registry()
            .with(fmt)
            .with(blocked)
            .try_init()?;
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Blocked>()
}
