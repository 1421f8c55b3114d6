//! A monitor's instrumented futures, as the threads of the watchdog share them: what to watch, and where to
//! publish. Not what was found: `poll_watch.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::outlet::Outlet;
use super::subject;
use crate::polls::Demand;
use crate::stack::StackCapture;

/// A request to watch a monitor's instrumented futures.
pub(crate) struct PollRequest {
    pub(crate) demand: Arc<Demand>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) threshold: Duration,
    pub(crate) stack_capture: StackCapture,
    pub(crate) outlet: Arc<Outlet>,
}

#[derive(Debug)]
pub(super) struct PollSubject {
    demand: Arc<Demand>,
    /// The number of the watch, which its polls have.
    pub(super) watch: u32,
    pub(super) name: Option<Arc<str>>,
    pub(super) threshold: Duration,
    pub(super) stack_capture: StackCapture,
    pub(super) outlet: Arc<Outlet>,
    is_over: AtomicBool,
}

impl PollSubject {
    pub(super) fn new(request: PollRequest) -> Arc<PollSubject> {
        Arc::new(PollSubject {
            watch: request.demand.begin_watch(),
            demand: request.demand,
            name: request.name,
            threshold: request.threshold,
            stack_capture: request.stack_capture,
            outlet: request.outlet,
            is_over: AtomicBool::new(false),
        })
    }

    /// The time between two ticks.
    pub(super) fn tick(&self) -> Duration {
        subject::tick_of(self.threshold)
    }

    /// Asks the watchdog to watch the futures no longer.
    pub(super) fn end(&self) {
        self.demand.end_watch(self.watch);
        self.is_over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}
