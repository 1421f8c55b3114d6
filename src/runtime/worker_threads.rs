//! Which thread runs which worker of a runtime, as far as loopmon's tasks have observed it. When the tasks
//! are polled is up to others.
//!
//! The counts are atomics, for the watchdog, which waits for nobody. The threads are behind a lock, for
//! those who gather evidence.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stack;
use crate::stall::OsThread;

#[derive(Debug)]
pub(crate) struct WorkerThreads {
    /// Counts the polls of loopmon's tasks on all workers.
    total: AtomicU32,
    workers: Box<[Observed]>,
    threads: Mutex<Box<[Option<OsThread>]>>,
    /// Whether a worker was ever observed on another thread than before: tasks use `block_in_place`, or
    /// several threads drive a `current_thread` runtime.
    have_moved: AtomicBool,
    /// Whether a monitor sends signals to the threads.
    get_signals: AtomicBool,
}

/// What was observed of one worker.
#[derive(Debug, Default)]
struct Observed {
    /// Counts the polls of loopmon's tasks: each shows that the worker has gone on.
    count: AtomicU32,
    /// The number of the thread that ran the worker last. Zero if that is not known.
    thread: AtomicU32,
}

impl WorkerThreads {
    pub(crate) fn new(workers: usize) -> WorkerThreads {
        WorkerThreads {
            total: AtomicU32::new(0),
            workers: (0..workers).map(|_| Observed::default()).collect(),
            threads: Mutex::new(vec![None; workers].into()),
            have_moved: AtomicBool::new(false),
            get_signals: AtomicBool::new(false),
        }
    }

    /// From now on each thread on which a worker is observed is prepared for signals.
    pub(crate) fn expect_signals(&self) {
        self.get_signals.store(true, Ordering::Relaxed);
    }

    /// Records that the calling thread runs this worker, and that it polls a task of loopmon there.
    pub(crate) fn observe(&self, worker: usize) {
        self.record(worker);
        if let Some(observed) = self.workers.get(worker) {
            observed.count.fetch_add(1, Ordering::Relaxed);
            self.total.fetch_add(1, Ordering::Release);
        }
    }

    /// Records that the calling thread runs this worker, and prepares the thread if it may get signals.
    pub(crate) fn record(&self, worker: usize) {
        let Some(observed) = self.workers.get(worker) else {
            return;
        };
        if self.get_signals.load(Ordering::Relaxed) {
            stack::introduce();
        }
        let thread = OsThread::current();
        let number = thread.number();
        let before = observed.thread.load(Ordering::Relaxed);
        if before != number {
            let has_left_another = self.change(worker, thread);
            if before != 0 || has_left_another {
                self.have_moved.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Records that the worker has a new thread. Returns whether that thread ran another worker before.
    fn change(&self, worker: usize, thread: OsThread) -> bool {
        let number = thread.number();
        let mut former = Vec::with_capacity(self.workers.len());
        let mut has_left_another = false;
        let mut threads = self.threads();
        for (index, known) in threads.iter_mut().enumerate() {
            let is_here = known.as_ref().is_some_and(|known| known.number() == number);
            if index == worker || is_here {
                has_left_another |= is_here && index != worker;
                former.push(known.take());
                self.workers[index].thread.store(0, Ordering::Relaxed);
            }
        }
        threads[worker] = Some(thread);
        self.workers[worker].thread.store(number, Ordering::Relaxed);
        drop(threads);
        // Memory is freed under no lock.
        drop(former);
        has_left_another
    }

    /// The thread on which the worker was last observed.
    pub(crate) fn thread(&self, worker: usize) -> Option<OsThread> {
        self.threads().get(worker)?.clone()
    }

    /// The thread on which the worker was last observed, or else one of another worker.
    pub(crate) fn thread_like(&self, worker: usize) -> Option<OsThread> {
        let threads = self.threads();
        let own = threads.get(worker).and_then(Option::as_ref);
        own.or_else(|| threads.iter().flatten().next()).cloned()
    }

    /// Whether some worker was last observed on this thread.
    pub(crate) fn has(&self, thread: u32) -> bool {
        let threads = self.threads();
        threads
            .iter()
            .flatten()
            .any(|known| known.id == Some(thread))
    }

    /// The number of the thread on which the worker was last observed. Takes no lock.
    pub(crate) fn number(&self, worker: usize) -> Option<u32> {
        let number = self.workers.get(worker)?.thread.load(Ordering::Relaxed);
        (number != 0).then_some(number)
    }

    /// Whether a worker was ever observed on another thread than before. Takes no lock.
    pub(crate) fn have_moved(&self) -> bool {
        self.have_moved.load(Ordering::Relaxed)
    }

    /// How often the worker was observed. Takes no lock.
    pub(crate) fn observations(&self, worker: usize) -> u32 {
        self.workers
            .get(worker)
            .map_or(0, |observed| observed.count.load(Ordering::Relaxed))
    }

    /// How often all workers together were observed. Takes no lock.
    pub(crate) fn total_observations(&self) -> u32 {
        self.total.load(Ordering::Acquire)
    }

    fn threads(&self) -> MutexGuard<'_, Box<[Option<OsThread>]>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_counted() {
        let worker_threads = WorkerThreads::new(2);
        worker_threads.observe(1);
        worker_threads.observe(1);
        // A worker that does not exist.
        worker_threads.observe(2);
        // No poll of a task.
        worker_threads.record(0);
        worker_threads.record(1);
        let counts = [0, 1, 2].map(|worker| worker_threads.observations(worker));
        assert_eq!(
            (counts, worker_threads.total_observations()),
            ([0, 2, 0], 2)
        );
    }

    #[test]
    fn a_thread_that_has_changed_workers_is_known_by_the_last() {
        let worker_threads = WorkerThreads::new(2);
        worker_threads.observe(0);
        worker_threads.observe(1);
        let here = OsThread::current();
        assert_eq!(worker_threads.thread(0), None);
        assert_eq!(worker_threads.thread(1), Some(here.clone()));
        assert_eq!(worker_threads.number(0), None);
        assert_eq!(worker_threads.number(1), Some(here.number()));
        assert!(worker_threads.have_moved());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| worker_threads.observe(1));
            other.join().unwrap();
        });
        assert!(worker_threads.have_moved());
        assert_ne!(worker_threads.thread(1), Some(here));
    }
}
