//! How many of a runtime's tasks are loopmon's own, and when they are gone. While stalls are detected, a task
//! records at each poll which worker polls it, and prepares that worker's thread to be asked for its stack;
//! what is known of the workers is in `worker_threads.rs`.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::{Handle, Id, worker_index};

use super::worker_threads::WorkerThreads;
use crate::foreign::Foreign;
use crate::per_process::PerProcess;
use crate::waiting::WaitList;

/// All runtimes that have tasks of loopmon, from however many monitors.
static RUNTIMES: PerProcess<Mutex<HashMap<Id, Weak<RuntimeTasks>>>> =
    PerProcess::new(Mutex::default);

fn runtimes() -> MutexGuard<'static, HashMap<Id, Weak<RuntimeTasks>>> {
    RUNTIMES
        .get()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The tasks of loopmon on one runtime.
#[derive(Debug)]
pub(crate) struct RuntimeTasks {
    runtime: Id,
    count: AtomicUsize,
    /// Empty until stalls are detected.
    worker_threads: OnceLock<WorkerThreads>,
}

impl RuntimeTasks {
    pub(crate) fn of(runtime: &Handle) -> Arc<RuntimeTasks> {
        let runtime = runtime.id();
        let mut runtimes = runtimes();
        if let Some(tasks) = runtimes.get(&runtime).and_then(Weak::upgrade) {
            return tasks;
        }
        let tasks = Arc::new(RuntimeTasks {
            runtime,
            count: AtomicUsize::new(0),
            worker_threads: OnceLock::new(),
        });
        runtimes.insert(runtime, Arc::downgrade(&tasks));
        tasks
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether a worker of another runtime was last observed on this thread.
    pub(crate) fn others_have(&self, thread: u32) -> bool {
        // The last owner of one locks the map when it drops that.
        let all: Vec<_> = runtimes().values().filter_map(Weak::upgrade).collect();
        all.iter().any(|other| {
            let threads = other.worker_threads.get();
            other.runtime != self.runtime && threads.is_some_and(|threads| threads.has(thread))
        })
    }

    /// What the tasks observe of this many workers, from the first call on.
    pub(crate) fn worker_threads(&self, workers: usize) -> &WorkerThreads {
        self.worker_threads
            .get_or_init(|| WorkerThreads::new(workers))
    }
}

impl Drop for RuntimeTasks {
    fn drop(&mut self) {
        let mut runtimes = runtimes();
        // Another thread may have inserted a new one since the last owner of this one dropped it.
        if let Some(tasks) = runtimes.get(&self.runtime) {
            if tasks.strong_count() == 0 {
                runtimes.remove(&self.runtime);
            }
        }
    }
}

/// The tasks of one monitor, on however many runtimes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(Arc<Alive>);

#[derive(Debug, Default)]
struct Alive {
    count: AtomicUsize,
    waiting: WaitList,
}

impl Tasks {
    /// Waits until there are no tasks.
    pub(crate) async fn gone(&self) {
        let mut waiter = self.0.waiting.waiter();
        poll_fn(|cx| {
            waiter.register(cx.waker());
            match self.0.count.load(Ordering::Acquire) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }
}

/// Counts one task for as long as it lives.
#[derive(Debug)]
struct Counted(Tasks);

impl Drop for Counted {
    fn drop(&mut self) {
        let tasks = &self.0.0;
        if tasks.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            tasks.waiting.wake_all();
        }
    }
}

/// Makes the tokens for the tasks of one monitor on one runtime.
#[derive(Debug, Clone)]
pub(crate) struct TaskTracker {
    runtime: Arc<RuntimeTasks>,
    tasks: Tasks,
}

impl TaskTracker {
    pub(crate) fn new(runtime: &Handle, tasks: Tasks) -> TaskTracker {
        TaskTracker {
            runtime: RuntimeTasks::of(runtime),
            tasks,
        }
    }

    pub(crate) fn runtime(&self) -> &Arc<RuntimeTasks> {
        &self.runtime
    }

    pub(crate) fn token(&self) -> TaskToken {
        self.runtime.count.fetch_add(1, Ordering::Relaxed);
        self.tasks.0.count.fetch_add(1, Ordering::Relaxed);
        TaskToken {
            runtime: Arc::clone(&self.runtime),
            counted: Some(Counted(self.tasks.clone())),
        }
    }
}

/// Held by each task of a monitor for as long as it lives.
#[derive(Debug)]
pub(crate) struct TaskToken {
    runtime: Arc<RuntimeTasks>,
    counted: Option<Counted>,
}

impl TaskToken {
    /// Returns what the task runs. A panic of `future` ends the task, and does not reach the runtime, which
    /// might shut down because of it.
    pub(crate) async fn keep(self, future: impl Future<Output = ()>) {
        let mut future = pin!(Foreign::new(future));
        poll_fn(|cx| {
            if let (Some(worker_threads), Some(worker)) =
                (self.runtime.worker_threads.get(), worker_index())
            {
                worker_threads.observe(worker);
            }
            future.as_mut().poll(cx)
        })
        .await
        .ok();
    }
}

impl Drop for TaskToken {
    fn drop(&mut self) {
        self.runtime.count.fetch_sub(1, Ordering::Relaxed);
        drop_after_this_task(self.counted.take());
    }
}

/// Drops `value` once the runtime has removed the task that runs now; outside a task, at once.
///
/// A future is dropped a moment before its task is, and another thread can see that moment. A waker that
/// yields is woken by the same worker, after that is done with the task.
fn drop_after_this_task(value: impl Send + Sync + 'static) {
    struct DropOnWake<T>(#[allow(dead_code, reason = "dropped with the waker")] T);

    impl<T: Send + Sync + 'static> Wake for DropOnWake<T> {
        fn wake(self: Arc<DropOnWake<T>>) {}
    }

    yield_as(&Waker::from(Arc::new(DropOnWake(value))));
}

/// The worker that the calling thread runs. `None` if it has handed that over by `block_in_place` and is in a `block_on`
/// there, where `worker_index` still returns it.
pub(crate) fn worker_here() -> Option<usize> {
    #[derive(Default)]
    struct IsWoken(AtomicBool);

    impl Wake for IsWoken {
        fn wake(self: Arc<IsWoken>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let index = worker_index()?;
    // A worker wakes what yields after this poll. Who runs none wakes it at once.
    let woken = Arc::new(IsWoken::default());
    yield_as(&Waker::from(Arc::clone(&woken)));
    (!woken.0.load(Ordering::Relaxed)).then_some(index)
}

/// Yields as a task does that has this waker.
fn yield_as(waker: &Waker) {
    let yielding = pin!(tokio::task::yield_now());
    // Only the waker is of use.
    let (Poll::Ready(()) | Poll::Pending) = yielding.poll(&mut Context::from_waker(waker));
}

#[cfg(test)]
mod tests {
    use tokio::task::block_in_place;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_thread_that_has_handed_its_worker_over_runs_none() {
        assert_eq!(worker_here(), None);
        let task = tokio::spawn(async {
            let before = worker_here();
            let inside = block_in_place(worker_here);
            let both = async { (worker_index(), worker_here()) };
            let (index, driven) = block_in_place(|| Handle::current().block_on(both));
            // It has the worker back, unless another thread has begun to run it.
            tokio::task::yield_now().await;
            (before, inside, index, driven, worker_here())
        });
        let seen = task.await.unwrap();
        assert_eq!(seen, (Some(0), None, Some(0), None, Some(0)));
    }

    #[test]
    fn a_thread_that_drives_a_runtime_runs_its_worker() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        assert_eq!(runtime.unwrap().block_on(async { worker_here() }), Some(0));
    }

    #[tokio::test]
    async fn a_panic_does_not_reach_the_runtime() {
        let tasks = Tasks::default();
        let own = TaskTracker::new(&Handle::current(), tasks.clone());
        let panics = own.token().keep(async { panic!("somebody's own mistake") });
        tokio::spawn(panics).await.unwrap();
        tasks.gone().await;
        assert_eq!(own.runtime().count(), 0);
    }
}
