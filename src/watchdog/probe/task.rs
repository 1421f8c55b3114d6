//! A task of loopmon's own on the watched runtime, which is polled when the watchdog wants it.
//!
//! A poll of any task of loopmon shows that the worker which polls it makes progress, and which thread runs
//! that worker. `runtime/task_tracker.rs` records it; this file only causes the poll.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::barrier::WorkerBarrier;
use crate::runtime::TaskTracker;
use crate::sync::{Mutex, MutexGuard};

/// What the task shares with the threads of the watchdog.
#[derive(Debug)]
pub(in crate::watchdog) struct Probe {
    state: Mutex<State>,
    /// `None` if there is one worker.
    barriers: Option<Barriers>,
}

#[derive(Debug)]
struct State {
    waker: Option<Waker>,
    /// Whether the next poll begins to observe all workers.
    observes_all: bool,
    /// Whether the next poll ends the task.
    is_over: bool,
}

/// Observes all workers at once. The probe's task spawns the tasks for that: the runtime may have a hook that
/// runs then, which belongs on the runtime's own threads.
#[derive(Debug)]
pub(in crate::watchdog) struct Barriers {
    tasks: TaskTracker,
    workers: usize,
    threshold: Duration,
}

impl Barriers {
    pub(in crate::watchdog) fn of(
        tasks: TaskTracker,
        workers: usize,
        threshold: Duration,
    ) -> Option<Barriers> {
        (workers > 1).then_some(Barriers {
            tasks,
            workers,
            threshold,
        })
    }

    fn begin(&self) {
        let barrier = WorkerBarrier::new(self.workers, self.threshold);
        for _ in 0..self.workers {
            let barrier = Arc::clone(&barrier);
            let task = self.tasks.token().keep(async move { barrier.wait() });
            tokio::spawn(task);
        }
    }
}

impl Probe {
    /// The first poll of the task observes all workers.
    pub(in crate::watchdog) fn new(barriers: Option<Barriers>) -> Arc<Probe> {
        Arc::new(Probe {
            state: Mutex::new(State {
                waker: None,
                observes_all: true,
                is_over: false,
            }),
            barriers,
        })
    }

    /// What the task runs.
    pub(in crate::watchdog) fn task(self: &Arc<Probe>) -> ProbeTask {
        ProbeTask(Arc::clone(self))
    }

    /// Has the task polled, if it has been polled since the last call.
    pub(in crate::watchdog) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Observes all workers.
    pub(in crate::watchdog) fn observe_all(&self) {
        self.lock().observes_all = true;
        self.wake();
    }

    /// Ends the task.
    pub(in crate::watchdog) fn end(&self) {
        self.lock().is_over = true;
        self.wake();
    }

    fn poll(&self, waker: &Waker) -> Poll<()> {
        let waker = waker.clone();
        let mut state = self.lock();
        if state.is_over {
            return Poll::Ready(());
        }
        let former = state.waker.replace(waker);
        let observes_all = std::mem::take(&mut state.observes_all);
        drop(state);
        drop(former);
        if let Some(barriers) = self.barriers.as_ref().filter(|_| observes_all) {
            barriers.begin();
        }
        Poll::Pending
    }

    /// A waker keeps its runtime's files open, so it is dropped with the task.
    fn ended(&self) {
        let waker = self.lock().waker.take();
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is woken again and again, until the probe ends it.
#[derive(Debug)]
pub(in crate::watchdog) struct ProbeTask(Arc<Probe>);

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
        let probe = Probe::new(None);
        let mut waiting = task::spawn(probe.task());
        probe.wake();
        assert_pending!(waiting.poll());
        assert!(!waiting.is_woken());
        probe.wake();
        assert!(waiting.is_woken());
        probe.end();
        assert_ready!(waiting.poll());
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
            let probe = Probe::new(None);
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
            let probe = Probe::new(None);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let task = probe.task();
            let runtime = loom::thread::spawn(move || {
                assert!(task.0.poll(&waker).is_pending());
                drop(task);
            });
            probe.wake();
            runtime.join().unwrap();
            assert_eq!(Arc::strong_count(&woken), 1);
        });
    }
}
