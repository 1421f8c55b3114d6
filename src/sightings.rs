//! Which thread runs which worker of a runtime, as far as loopmon's own tasks have met them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::stack;
use crate::stall::OsThread;

#[derive(Debug)]
pub(crate) struct Sightings {
    /// How many there have been, of all workers: to be read without the lock.
    total: AtomicU32,
    workers: Mutex<Box<[Sighting]>>,
}

/// How a worker was met last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// How often it has been met so far.
    pub(crate) count: u32,
    /// The thread that ran it.
    pub(crate) thread: Option<OsThread>,
}

impl Sightings {
    pub(crate) fn new(workers: usize) -> Sightings {
        Sightings {
            total: AtomicU32::new(0),
            workers: Mutex::new(vec![Sighting::default(); workers].into()),
        }
    }

    /// The calling thread runs this worker.
    pub(crate) fn add(&self, worker: usize) {
        let thread = OsThread::current();
        stack::introduce();
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // It runs no other.
        for sighting in &mut *workers {
            sighting.thread.take_if(|known| known.is(&thread));
        }
        if let Some(sighting) = workers.get_mut(worker) {
            sighting.count = sighting.count.wrapping_add(1);
            sighting.thread = Some(thread);
            self.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of them up to now, and how many there have been.
    pub(crate) fn all(&self) -> (Vec<Sighting>, u32) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        (workers.to_vec(), self.total.load(Ordering::Relaxed))
    }

    /// Hands over all of them if there are more than `seen`.
    pub(crate) fn read(&self, seen: &mut u32, mut each: impl FnMut(usize, &Sighting)) {
        if self.total.load(Ordering::Relaxed) == *seen {
            return;
        }
        // Whoever holds the lock will be through by the next time. The watchdog waits for nobody.
        let Ok(workers) = self.workers.try_lock() else {
            return;
        };
        // Under the lock it does not change.
        *seen = self.total.load(Ordering::Relaxed);
        for (worker, sighting) in workers.iter().enumerate() {
            each(worker, sighting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sightings: &Sightings, seen: &mut u32) -> Vec<u32> {
        let mut counts = Vec::new();
        sightings.read(seen, |_, sighting| counts.push(sighting.count));
        counts
    }

    #[test]
    fn sightings_are_handed_over_once() {
        let sightings = Sightings::new(2);
        let mut seen = 0;
        assert!(counts(&sightings, &mut seen).is_empty());
        sightings.add(1);
        sightings.add(1);
        assert_eq!(counts(&sightings, &mut seen), [0, 2]);
        assert!(counts(&sightings, &mut seen).is_empty());
        // A worker that does not exist.
        sightings.add(2);
        assert!(counts(&sightings, &mut seen).is_empty());
    }

    #[test]
    fn a_thread_that_has_changed_workers_is_known_by_the_last() {
        let sightings = Sightings::new(2);
        sightings.add(0);
        sightings.add(1);
        let mut threads = Vec::new();
        sightings.read(&mut 0, |_, sighting| threads.push(sighting.thread.clone()));
        assert_eq!(threads, [None, Some(OsThread::current())]);
    }
}
