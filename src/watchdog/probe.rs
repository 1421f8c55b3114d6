//! A task of loopmon's own on the watched runtime.
//!
//! That it is dropped tells that the runtime is gone. That it is polled, as every task of loopmon,
//! tells that the worker which polls it is not stuck, and which thread runs that worker.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
#[cfg(not(loopmon_loom))]
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

#[cfg(loopmon_loom)]
use loom::sync::{Mutex, MutexGuard};

/// What the task and the watchdog tell each other.
#[derive(Debug)]
pub(super) struct Probe(Mutex<State>);

#[derive(Debug)]
struct State {
    waker: Option<Waker>,
    end: End,
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
    pub(super) fn new() -> Arc<Probe> {
        Arc::new(Probe(Mutex::new(State {
            waker: None,
            end: End::NotYet,
        })))
    }

    /// What the task is to run.
    pub(super) fn task(self: &Arc<Probe>) -> ProbeTask {
        ProbeTask(Arc::clone(self))
    }

    /// Whether the task has not been dropped.
    pub(super) fn is_there(&self) -> bool {
        // Whoever holds the lock is the task. The watchdog waits for nobody.
        !self.0.try_lock().is_ok_and(|state| state.end == End::Come)
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

    fn poll(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        if state.end == End::Asked {
            return Poll::Ready(());
        }
        state.waker = Some(waker.clone());
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

/// Waits to be woken, again and again, until it is asked to end.
#[derive(Debug)]
pub(super) struct ProbeTask(Arc<Probe>);

impl Future for ProbeTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx.waker())
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

    #[test]
    fn one_wake_leads_to_one_poll() {
        let probe = Probe::new();
        let mut waiting = task::spawn(probe.task());
        probe.wake();
        assert_pending!(waiting.poll());
        assert!(!waiting.is_woken());
        probe.wake();
        assert!(waiting.is_woken());
        probe.end();
        assert_ready!(waiting.poll());
        assert!(probe.is_there());
        drop(waiting);
        assert!(!probe.is_there());
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
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_end_that_is_asked_for_is_never_missed() {
        loom::model(|| {
            let probe = Probe::new();
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let task = probe.task();
            let runtime = loom::thread::spawn({
                move || {
                    let polled = task.0.poll(&waker);
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
            let probe = Probe::new();
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let task = probe.task();
            let runtime = loom::thread::spawn(move || {
                assert!(task.0.poll(&waker).is_pending());
                drop(task);
            });
            probe.wake();
            runtime.join().unwrap();
            assert!(!probe.is_there());
            assert_eq!(Arc::strong_count(&woken), 1);
        });
    }
}
