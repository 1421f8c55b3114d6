//! A task of loopmon's own on the watched runtime.
//!
//! That it is polled tells, as with every task of loopmon, that the worker which polls it is not stuck,
//! and which thread runs that worker. This one is polled when the watchdog wants it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::barrier::WorkerBarrier;
use crate::runtime::TaskTracker;
use crate::sync::{Mutex, MutexGuard};

/// What the task and those who want something of it tell each other.
#[derive(Debug)]
pub(in crate::watchdog) struct Probe {
    state: Mutex<State>,
    /// What has the workers meet, where there are several.
    meeting: Option<Meeting>,
}

#[derive(Debug)]
struct State {
    waker: Option<Waker>,
    /// All workers are to meet.
    is_to_meet: bool,
    /// No more is wanted of the task.
    is_unwanted: bool,
}

/// Tasks are spawned by the task itself: a runtime may have a hook that runs then, and that belongs on
/// its own threads.
#[derive(Debug)]
pub(in crate::watchdog) struct Meeting {
    tasks: TaskTracker,
    workers: usize,
}

impl Meeting {
    pub(in crate::watchdog) fn of(tasks: TaskTracker, workers: usize) -> Option<Meeting> {
        (workers > 1).then_some(Meeting { tasks, workers })
    }

    fn begin(&self) {
        let barrier = WorkerBarrier::new(self.workers);
        for _ in 0..self.workers {
            let barrier = Arc::clone(&barrier);
            let task = self.tasks.task().keep(async move { barrier.meet() });
            tokio::spawn(task);
        }
    }
}

impl Probe {
    /// Has all workers meet when it is polled first.
    pub(in crate::watchdog) fn new(meeting: Option<Meeting>) -> Arc<Probe> {
        Arc::new(Probe {
            state: Mutex::new(State {
                waker: None,
                is_to_meet: true,
                is_unwanted: false,
            }),
            meeting,
        })
    }

    /// What the task is to run.
    pub(in crate::watchdog) fn task(self: &Arc<Probe>) -> ProbeTask {
        ProbeTask(Arc::clone(self))
    }

    /// Has the task polled, if it has been polled since the last time.
    pub(in crate::watchdog) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Has all workers meet.
    pub(in crate::watchdog) fn meet(&self) {
        self.lock().is_to_meet = true;
        self.wake();
    }

    /// Ends the task.
    pub(in crate::watchdog) fn end(&self) {
        self.lock().is_unwanted = true;
        self.wake();
    }

    fn poll(&self, waker: &Waker) -> Poll<()> {
        let waker = waker.clone();
        let mut state = self.lock();
        if state.is_unwanted {
            return Poll::Ready(());
        }
        let former = state.waker.replace(waker);
        let is_to_meet = std::mem::take(&mut state.is_to_meet);
        drop(state);
        drop(former);
        if let Some(meeting) = self.meeting.as_ref().filter(|_| is_to_meet) {
            meeting.begin();
        }
        Poll::Pending
    }

    /// A waker keeps its runtime's files open, so it goes with the task.
    fn ended(&self) {
        let waker = self.lock().waker.take();
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits to be woken, again and again, until it is asked to end.
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
