//! Which thread runs which worker of a runtime, as far as loopmon's own tasks have met them.
//!
//! The counts are atomics, for the watchdog, which waits for nobody. The threads are behind a lock, for
//! those who gather evidence.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stack;
use crate::stall::OsThread;

#[derive(Debug)]
pub(crate) struct WorkerThreads {
    /// How many there have been, of all workers.
    total: AtomicU32,
    workers: Box<[Sighted]>,
    threads: Mutex<Box<[Option<OsThread>]>>,
    /// A worker has been met on another thread than before: tasks use `block_in_place`, or a
    /// `current_thread` runtime is driven by several threads.
    moved: AtomicBool,
}

/// How a worker was met.
#[derive(Debug, Default)]
struct Sighted {
    /// How often so far.
    count: AtomicU32,
    /// The number of the thread that ran it last. Zero if that is not known.
    thread: AtomicU32,
}

impl WorkerThreads {
    pub(crate) fn new(workers: usize) -> WorkerThreads {
        WorkerThreads {
            total: AtomicU32::new(0),
            workers: (0..workers).map(|_| Sighted::default()).collect(),
            threads: Mutex::new(vec![None; workers].into()),
            moved: AtomicBool::new(false),
        }
    }

    /// The calling thread runs this worker.
    pub(crate) fn add(&self, worker: usize) {
        let Some(sighted) = self.workers.get(worker) else {
            return;
        };
        stack::introduce();
        let thread = OsThread::current();
        let number = thread.number();
        let before = sighted.thread.load(Ordering::Relaxed);
        if before != number {
            let has_left_another = self.change(worker, thread);
            if before != 0 || has_left_another {
                self.moved.store(true, Ordering::Relaxed);
            }
        }
        sighted.count.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Release);
    }

    /// Another thread than before runs the worker. Returns whether it ran another one before.
    fn change(&self, worker: usize, thread: OsThread) -> bool {
        let number = thread.number();
        let mut former = Vec::with_capacity(self.workers.len());
        let mut has_left_another = false;
        let mut threads = self.threads();
        // It runs no other.
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
        // Memory is given back under no lock.
        drop(former);
        has_left_another
    }

    /// The thread that was met last as the worker's.
    pub(crate) fn thread(&self, worker: usize) -> Option<OsThread> {
        self.threads().get(worker)?.clone()
    }

    /// The thread that was met last as the worker's, or else as that of another one.
    pub(crate) fn thread_like(&self, worker: usize) -> Option<OsThread> {
        let threads = self.threads();
        let own = threads.get(worker).and_then(Option::as_ref);
        own.or_else(|| threads.iter().flatten().next()).cloned()
    }

    /// Whether the thread was met last as that of some worker.
    pub(crate) fn has(&self, thread: u32) -> bool {
        let threads = self.threads();
        threads
            .iter()
            .flatten()
            .any(|known| known.id == Some(thread))
    }

    /// The number of the thread that was met last as the worker's. Takes no lock.
    pub(crate) fn number(&self, worker: usize) -> Option<u32> {
        let number = self.workers.get(worker)?.thread.load(Ordering::Relaxed);
        (number != 0).then_some(number)
    }

    /// Whether a worker has ever been met on another thread than before. Takes no lock.
    pub(crate) fn have_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    /// How often the worker has been met. Takes no lock.
    pub(crate) fn count(&self, worker: usize) -> u32 {
        self.workers
            .get(worker)
            .map_or(0, |sighted| sighted.count.load(Ordering::Relaxed))
    }

    /// How often all of them have been met. Takes no lock.
    pub(crate) fn total(&self) -> u32 {
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
    fn sightings_are_counted() {
        let worker_threads = WorkerThreads::new(2);
        worker_threads.add(1);
        worker_threads.add(1);
        // A worker that does not exist.
        worker_threads.add(2);
        let counts = [0, 1, 2].map(|worker| worker_threads.count(worker));
        assert_eq!((counts, worker_threads.total()), ([0, 2, 0], 2));
        assert!(!worker_threads.have_moved());
    }

    #[test]
    fn a_thread_that_has_changed_workers_is_known_by_the_last() {
        let worker_threads = WorkerThreads::new(2);
        worker_threads.add(0);
        worker_threads.add(1);
        let here = OsThread::current();
        assert_eq!(worker_threads.thread(0), None);
        assert_eq!(worker_threads.thread(1), Some(here.clone()));
        assert_eq!(worker_threads.number(0), None);
        assert_eq!(worker_threads.number(1), Some(here.number()));
        assert!(worker_threads.have_moved());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| worker_threads.add(1));
            other.join().unwrap();
        });
        assert!(worker_threads.have_moved());
        assert_ne!(worker_threads.thread(1), Some(here));
    }
}
