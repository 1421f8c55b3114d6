//! Which thread runs a worker that stands still.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::super::Stamp;
use super::Case;
use crate::stall::OsThread;
use crate::watchdog::evidence::Evidence;

/// How often, and how far apart, it is seen whether the workers have met.
const LOOKS_FOR_A_MEETING: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

impl Case {
    /// The thread itself has said that it runs the worker.
    pub(super) fn is_proven(&self) -> bool {
        self.probe.says(self.worker) == Some(true) && !self.probe.has_handed_over()
    }

    /// Asks the other threads that have run all the time, if they may be asked.
    pub(super) fn look_for_another(&mut self, at: Stamp, until: Instant) {
        let (probe, worker) = (&self.probe, self.worker);
        let asked = self.thread.as_ref().and_then(|thread| thread.id);
        let would_say =
            |thread: &OsThread, tracker: &mut _| probe.would_say(thread, tracker, worker, until);
        let found = self.candidates.find(asked, would_say);
        if let Some((thread, times, taken_at)) = found {
            self.first = Evidence::running(at.of(taken_at), times);
            self.probe.turn_to(&thread, until);
            self.thread = Some(thread);
        }
    }

    /// Whether the worker, which has just gone on, is met on this thread next.
    pub(super) fn is_met_on(&self, thread: &OsThread) -> bool {
        let worker_threads = self.subject.worker_threads();
        let before = worker_threads.count(self.worker);
        self.subject.probe.meet();
        for _ in 0..LOOKS_FOR_A_MEETING {
            sleep(BETWEEN_LOOKS);
            if worker_threads.count(self.worker) != before {
                let met = worker_threads.thread(self.worker);
                return met.is_some_and(|met| met.id == thread.id);
            }
        }
        false
    }

    /// It has been met as this worker's, and nothing speaks against it; or all others are ruled out.
    pub(super) fn is_likely(&mut self) -> bool {
        let worker_threads = self.subject.worker_threads();
        if !self.subject.has_many_workers {
            return self.thread.is_some();
        }
        if !worker_threads.have_moved() {
            let is_worker = |id| worker_threads.has(id);
            let id = self.thread.as_ref().and_then(|thread| thread.id);
            return self.thread.is_some() && !self.candidates.has_rival(id, is_worker);
        }
        match (self.candidates.only_one_that_ran(), &self.thread) {
            (Some(only), Some(thread)) => thread.id == Some(only),
            _ => false,
        }
    }
}
