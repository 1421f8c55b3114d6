//! What a scrape of a real endpoint shows.
//!
//! A process has one recorder: these tests share it, and each gives its monitors their own names.
#![cfg(feature = "metrics")]

mod cardinality;
pub(crate) mod endpoint;
mod life;
#[cfg(feature = "tower")]
mod requests;
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
        // Installs the recorder.
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

    /// Stops the monitor and waits until everything it published has been exported.
    fn end(self, export: Export) {
        self.stop();
        drop(self.monitor);
        self.runtime.block_on(export.finish());
    }
}
