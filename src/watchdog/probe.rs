//! A task of loopmon's own on the watched runtime.
//!
//! That it is dropped tells that the runtime is gone. That it is polled tells that the worker which
//! polls it is not stuck, and which thread runs that worker.

#[cfg(not(loopmon_loom))]
use std::sync::{Arc, Mutex, MutexGuard};

use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[cfg(loopmon_loom)]
use loom::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::worker_index;

use crate::stall::OsThread;

/// What the task and the watchdog tell each other.
#[derive(Debug)]
pub(super) struct Probe(Mutex<State>);

#[derive(Debug)]
struct State {
    workers: Box<[Sighting]>,
    /// How many there have been, of all workers.
    sightings: u32,
    waker: Option<Waker>,
    end: End,
}

/// How a worker was met last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// How often it has been met so far.
    pub(super) count: u32,
    /// The thread that ran it.
    pub(super) thread: Option<OsThread>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// The watchdog wants no more of the task.
    Asked,
    /// The task has been dropped, by itself or with its runtime.
    Come,
}

impl Probe {
    pub(super) fn new(workers: usize) -> Arc<Probe> {
        Arc::new(Probe(Mutex::new(State {
            workers: vec![Sighting::default(); workers].into(),
            sightings: 0,
            waker: None,
            end: End::NotYet,
        })))
    }

    /// What the task is to run.
    pub(super) fn task(self: &Arc<Probe>) -> ProbeTask {
        ProbeTask(Arc::clone(self))
    }

    /// The calling thread runs this worker.
    pub(super) fn sight(&self, worker: usize) {
        self.lock().sight(worker, OsThread::current());
    }

    /// Has the task polled, if it has been polled since the last time.
    pub(super) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the task.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if state.end == End::NotYet {
            state.end = End::Asked;
        }
        drop(state);
        self.wake();
    }

    /// Hands over all sightings if there are more than `seen`. Returns whether the task is alive.
    pub(super) fn read(&self, seen: &mut u32, mut each: impl FnMut(usize, &Sighting)) -> bool {
        // Whoever holds the lock will be through by the next time. The watchdog waits for nobody.
        let Ok(state) = self.0.try_lock() else {
            return true;
        };
        if *seen != state.sightings {
            *seen = state.sightings;
            let workers = state.workers.iter().enumerate();
            workers.for_each(|(worker, sighting)| each(worker, sighting));
        }
        state.end != End::Come
    }

    fn poll(&self, worker: Option<usize>, waker: &Waker) -> Poll<()> {
        let thread = OsThread::current();
        let mut state = self.lock();
        if state.end == End::Asked {
            return Poll::Ready(());
        }
        state.waker = Some(waker.clone());
        if let Some(worker) = worker {
            state.sight(worker, thread);
        }
        Poll::Pending
    }

    /// A waker keeps its runtime's files open, so it goes with the task.
    fn ended(&self) {
        let mut state = self.lock();
        state.end = End::Come;
        let waker = state.waker.take();
        drop(state);
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sight(&mut self, worker: usize, thread: OsThread) {
        // A thread runs one worker at a time.
        for sighting in &mut self.workers {
            sighting.thread.take_if(|known| *known == thread);
        }
        if let Some(sighting) = self.workers.get_mut(worker) {
            sighting.count = sighting.count.wrapping_add(1);
            sighting.thread = Some(thread);
            self.sightings = self.sightings.wrapping_add(1);
        }
    }
}

/// Waits to be woken, again and again, until it is asked to end.
#[derive(Debug)]
pub(super) struct ProbeTask(Arc<Probe>);

impl Future for ProbeTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(worker_index(), cx.waker())
    }
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.0.ended();
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    fn sightings(probe: &Probe, seen: &mut u32) -> Vec<u32> {
        let mut counts = Vec::new();
        probe.read(seen, |_, sighting| counts.push(sighting.count));
        counts
    }

    #[test]
    fn sightings_are_handed_over_once() {
        let probe = Probe::new(2);
        let mut seen = 0;
        assert!(sightings(&probe, &mut seen).is_empty());
        probe.sight(1);
        probe.sight(1);
        assert_eq!(sightings(&probe, &mut seen), [0, 2]);
        assert!(sightings(&probe, &mut seen).is_empty());
        // A worker that does not exist.
        probe.sight(2);
        assert!(sightings(&probe, &mut seen).is_empty());
    }

    #[test]
    fn a_thread_that_has_changed_workers_is_known_by_the_last() {
        let probe = Probe::new(2);
        probe.sight(0);
        probe.sight(1);
        let mut threads = Vec::new();
        probe.read(&mut 0, |_, sighting| threads.push(sighting.thread.clone()));
        assert_eq!(threads, [None, Some(OsThread::current())]);
    }

    #[test]
    fn one_wake_leads_to_one_poll() {
        let probe = Probe::new(1);
        let mut waiting = task::spawn(probe.task());
        probe.wake();
        assert_pending!(waiting.poll());
        assert!(!waiting.is_woken());
        probe.wake();
        assert!(waiting.is_woken());
        probe.end();
        assert_ready!(waiting.poll());
        assert!(probe.read(&mut 0, |_, _| {}));
        drop(waiting);
        assert!(!probe.read(&mut 0, |_, _| {}));
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_end_that_is_asked_for_is_never_missed() {
        loom::model(|| {
            let probe = Probe::new(1);
            let woken = std::sync::Arc::new(Woken::default());
            let waker = Waker::from(std::sync::Arc::clone(&woken));
            let task = probe.task();
            let runtime = loom::thread::spawn({
                move || {
                    let polled = task.0.poll(Some(0), &waker);
                    (task, polled)
                }
            });
            probe.wake();
            probe.end();
            let (_task, polled) = runtime.join().unwrap();
            assert!(polled.is_ready() || woken.0.load(Ordering::SeqCst));
        });
    }

    #[test]
    fn no_waker_outlives_the_task() {
        loom::model(|| {
            let probe = Probe::new(1);
            let woken = std::sync::Arc::new(Woken::default());
            let waker = Waker::from(std::sync::Arc::clone(&woken));
            let task = probe.task();
            let runtime = loom::thread::spawn(move || {
                assert!(task.0.poll(Some(0), &waker).is_pending());
                drop(task);
            });
            probe.wake();
            let mut seen = 0;
            let alive = probe.read(&mut seen, |_, sighting| assert_eq!(sighting.count, 1));
            runtime.join().unwrap();
            assert!(!probe.read(&mut seen, |_, _| {}) || !alive);
            assert_eq!(std::sync::Arc::strong_count(&woken), 1);
        });
    }
}
