//! What a real recorder holds, and what a scrape of its endpoint shows.
//!
//! A process has one recorder. These tests share it, and each names its own monitors.
#![cfg(feature = "metrics")]

mod cardinality;
pub(crate) mod endpoint;
mod life;
mod surroundings;

use loopmon::export::{Export, Metrics};
use loopmon::{Builder, Monitor};
use tokio::runtime::Runtime;

use crate::support::{Hand, manual, millis, paused_runtime, settle};
use endpoint::endpoint;

/// A runtime whose samples the test takes by hand, and its monitor.
struct Subject {
    runtime: Runtime,
    monitor: Monitor,
    hand: Hand,
}

impl Subject {
    fn new(build: impl FnOnce(Builder) -> Builder) -> Subject {
        // The exporter needs a recorder.
        endpoint();
        let (hand, sampler) = manual();
        Subject {
            runtime: paused_runtime(),
            monitor: build(Monitor::builder().sampler(sampler)).build().unwrap(),
            hand,
        }
    }

    fn named(name: &str) -> Subject {
        Subject::new(|builder| builder.name(name))
    }

    fn export(&self) -> Export {
        Metrics::new().start(&self.monitor).unwrap()
    }

    fn install(&self) {
        let _inside = self.runtime.enter();
        self.monitor.install().unwrap();
    }

    fn publish(&self, lag: u64) {
        self.runtime.block_on(self.hand.publish(millis(lag)));
    }

    fn stop(&self) {
        self.monitor.stop();
        self.runtime.block_on(settle());
    }

    /// Waits until all published items have reached the recorder.
    fn end(self, export: Export) {
        self.stop();
        drop(self.monitor);
        self.runtime.block_on(export.finish());
    }
}
