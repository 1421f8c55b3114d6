//! The exports of one kind: their thread, their names, and how one starts. What reaches them: `feed.rs`.
//!
//! A new exporter has a feature that enables `_export` and is in `full`, a file that implements [`Exporter`], and a
//! static
//! [`Exports`], whose `start` its own `start` calls; its thread's name has 15 bytes at most. The tables of `lib.rs`,
//! `export.rs` and the README name it. `tracing.rs` is the shortest example. One that counts
//! stalls does so by a `StallLedger` (`ledger.rs`), as `metrics.rs` does.

#[cfg(test)]
mod tests;

use tokio::sync::oneshot;

use super::Export;
use super::names::{Name, Names};
use crate::error::Error;
use crate::feed::{Exporter, Feed, guard};
use crate::monitor::Monitor;
use crate::own_thread::SharedThread;

/// All exports of one kind: their thread and their names.
#[derive(Debug)]
pub(super) struct Exports {
    thread: SharedThread,
    names: Names,
}

impl Exports {
    /// `thread` is the name of the thread.
    pub(super) const fn on(thread: &'static str) -> Exports {
        Exports {
            thread: SharedThread::new(thread),
            names: Names::new(),
        }
    }

    /// Starts an export. `new` creates the exporter, given the monitor's name among these exports.
    pub(super) fn start<E: Exporter>(
        &'static self,
        monitor: &Monitor,
        new: impl FnOnce(&Name) -> E + Send + 'static,
    ) -> Result<Export, Error> {
        let lease = self.names.take(monitor)?;
        let thread = self.thread.thread()?;
        // Subscribes before this returns, so that nothing is lost.
        let feed = Feed::of(monitor);
        let (finish, finished) = oneshot::channel();
        let runtime = thread.runtime().clone();
        let task = runtime.spawn(async move {
            let turn = lease.turn().await;
            // If `new` panics, the export ends.
            if let Some(mut exporter) = guard(|| new(&lease.name)) {
                feed.serve(&mut exporter, finished).await;
                guard(|| drop(exporter));
            }
            drop((lease, turn, thread));
        });
        Ok(Export { task, finish })
    }
}
