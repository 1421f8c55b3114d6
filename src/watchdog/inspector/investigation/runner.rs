//! Which thread runs a worker that is stuck.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Investigation;
use crate::procfs::Thread;
use crate::stack::Shows;
use crate::stall::OsThread;
use crate::watchdog::evidence::Evidence;
use crate::watchdog::messages::Stamp;

/// How often, and how far apart, to see whether the worker has been observed.
const CHECKS: u32 = 10;
const BETWEEN_CHECKS: Duration = Duration::from_millis(1);

impl Investigation {
    /// Whether the thread itself has said that it runs the worker, and has not handed that over.
    pub(super) fn is_proven(&self) -> bool {
        self.probe.says(self.worker) == Some(true)
            && match self.probe.stack_shows() {
                Some(shows) => shows == Shows::Polls,
                None => !self.looks_parked(),
            }
    }

    /// Whether the thread waits as a parked one does, while another of the kind behaves as the worker's would.
    pub(super) fn looks_parked(&self) -> bool {
        let id = self.thread.as_ref().and_then(|thread| thread.id);
        self.has_rival() && id.is_some_and(|id| Thread(id).is_idle())
    }

    fn has_rival(&self) -> bool {
        let worker_threads = self.subject.worker_threads();
        let tasks = self.subject.tasks();
        let is_worker = |id| worker_threads.has(id) || tasks.others_have(id);
        let id = self.thread.as_ref().and_then(|thread| thread.id);
        self.subject.has_many_workers && self.candidates.has_rival(id, is_worker)
    }

    /// A worker that is stuck since before it could be observed is on the one thread that is left.
    pub(super) fn find_unobserved(&mut self) {
        let worker_threads = self.subject.worker_threads();
        if !worker_threads.have_moved() {
            let tasks = self.subject.tasks();
            let is_worker = |id| worker_threads.has(id) || tasks.others_have(id);
            self.thread = self.candidates.only_one_left(is_worker);
        }
    }

    /// Asks the other threads that have run all the time, if they may be asked. A thread says the index of its
    /// worker, but not of which runtime.
    pub(super) fn look_for_another(&mut self, at: Stamp, until: Instant) {
        if self.subject.outlet.is_for_test {
            // Tests run in parallel, each with a runtime of its own, and not all of them are watched.
            return;
        }
        let (probe, worker) = (&self.probe, self.worker);
        let tasks = self.subject.tasks();
        let asked = self.thread.as_ref().and_then(|thread| thread.id);
        let would_say = |thread: &OsThread, tracker: &mut _| {
            let is_others = thread.id.is_some_and(|id| tasks.others_have(id));
            !is_others && probe.would_say(thread, tracker, worker, until)
        };
        let found = self.candidates.find(asked, would_say);
        if let Some((thread, times, taken_at)) = found {
            self.first = Evidence::running(at.awake_at(taken_at), times);
            self.probe.turn_to(&thread, until);
            self.thread = Some(thread);
        }
    }

    /// Whether the worker, which has just gone on, is observed on this thread next.
    pub(super) fn is_observed_on(&self, thread: &OsThread) -> bool {
        let worker_threads = self.subject.worker_threads();
        let before = worker_threads.observations(self.worker);
        self.subject.probe.observe_all();
        for _ in 0..CHECKS {
            sleep(BETWEEN_CHECKS);
            if worker_threads.observations(self.worker) != before {
                let observed = worker_threads.thread(self.worker);
                return observed.is_some_and(|observed| observed.id == thread.id);
            }
        }
        false
    }

    /// Whether the worker was observed on the thread and nothing speaks against it, or all other threads are
    /// ruled out.
    pub(super) fn is_likely(&mut self) -> bool {
        let worker_threads = self.subject.worker_threads();
        if !self.subject.has_many_workers {
            return self.thread.is_some();
        }
        if !worker_threads.have_moved() {
            return self.thread.is_some() && !self.has_rival();
        }
        match (self.candidates.only_one_that_ran(), &self.thread) {
            (Some(only), Some(thread)) => thread.id == Some(only),
            _ => false,
        }
    }
}
