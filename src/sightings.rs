//! Which thread runs which worker of a runtime, as far as loopmon's own tasks have met them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stack;
use crate::stall::OsThread;

#[derive(Debug)]
pub(crate) struct Sightings(Mutex<State>);

#[derive(Debug)]
struct State {
    workers: Box<[Sighting]>,
    /// How many there have been, of all workers.
    total: u32,
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
        Sightings(Mutex::new(State {
            workers: vec![Sighting::default(); workers].into(),
            total: 0,
        }))
    }

    /// The calling thread runs this worker.
    pub(crate) fn add(&self, worker: usize) {
        let thread = OsThread::current();
        stack::introduce();
        let mut state = self.lock();
        // It runs no other.
        for sighting in &mut state.workers {
            sighting.thread.take_if(|known| *known == thread);
        }
        if let Some(sighting) = state.workers.get_mut(worker) {
            sighting.count = sighting.count.wrapping_add(1);
            sighting.thread = Some(thread);
            state.total = state.total.wrapping_add(1);
        }
    }

    /// Hands over all of them if there are more than `seen`.
    pub(crate) fn read(&self, seen: &mut u32, mut each: impl FnMut(usize, &Sighting)) {
        // Whoever holds the lock will be through by the next time. The watchdog waits for nobody.
        let Ok(state) = self.0.try_lock() else {
            return;
        };
        if *seen != state.total {
            *seen = state.total;
            let workers = state.workers.iter().enumerate();
            workers.for_each(|(worker, sighting)| each(worker, sighting));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
