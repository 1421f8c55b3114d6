//! Takes down what a monitor publishes, for the page and for those who look at it.

use std::sync::Arc;
use std::time::Instant;

use super::api;
use super::page::{Page, Runtime};
use crate::feed::Exporter;
use crate::sample::Sample;
use crate::stall::Stall;

/// Takes down what one monitor publishes.
#[derive(Debug)]
pub(super) struct Scribe {
    pub(super) page: Arc<Page>,
    /// The index of the runtime.
    pub(super) index: usize,
}

impl Scribe {
    fn runtime(&self) -> &Runtime {
        &self.page.runtimes[self.index]
    }
}

impl Exporter for Scribe {
    fn sample(&mut self, sample: &Sample, _: Instant) {
        self.runtime().past.with(|past| past.history.sample(sample));
        self.page.look_for_pause();
    }

    fn stall(&mut self, stall: &Stall, now: Instant) {
        let runtime = self.runtime();
        let entry = runtime
            .past
            .with(|past| past.stalls.report(stall, now).clone());
        if !self.page.viewers.is_empty() {
            let stall = api::stall(runtime, &entry, now).to_string();
            self.page.viewers.send("stall", &stall);
        }
    }

    fn wants_tick(&self) -> bool {
        false
    }

    fn tick(&mut self, _: Instant) {}

    fn detached(&mut self) {
        self.runtime().past.with(|past| past.stalls.close(|_| true));
    }
}
