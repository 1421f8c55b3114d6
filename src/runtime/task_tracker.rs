//! Which of a runtime's tasks are loopmon's own, and which workers they have met.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::{Handle, Id, worker_index};

use super::worker_threads::WorkerThreads;
use crate::foreign::Foreign;
use crate::per_process::PerProcess;
use crate::waiting::WaitList;

/// The counts of all runtimes that have tasks of loopmon, from however many monitors.
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
    /// Once somebody wants them.
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

    /// Which of this many workers the tasks meet, from the first call on.
    pub(crate) fn worker_threads(&self, workers: usize) -> &WorkerThreads {
        self.worker_threads
            .get_or_init(|| WorkerThreads::new(workers))
    }
}

impl Drop for RuntimeTasks {
    fn drop(&mut self) {
        let mut runtimes = runtimes();
        // Another thread may have made a new one since this one's last owner went.
        if let Some(tasks) = runtimes.get(&self.runtime) {
            if tasks.strong_count() == 0 {
                runtimes.remove(&self.runtime);
            }
        }
    }
}

/// Whether a monitor has tasks, on whatever runtimes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(Arc<Alive>);

#[derive(Debug, Default)]
struct Alive {
    count: AtomicUsize,
    waiting: WaitList,
}

impl Tasks {
    /// Waits until there are none.
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

    fn token(&self) -> Token {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Token(self.clone())
    }
}

/// One task that is alive.
#[derive(Debug)]
struct Token(Tasks);

impl Drop for Token {
    fn drop(&mut self) {
        let tasks = &self.0.0;
        if tasks.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            tasks.waiting.wake_all();
        }
    }
}

/// Gives each task of one monitor on one runtime what it is to hold.
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

    pub(crate) fn task(&self) -> TaskToken {
        self.runtime.count.fetch_add(1, Ordering::Relaxed);
        TaskToken {
            runtime: Arc::clone(&self.runtime),
            alive: Some(self.tasks.token()),
        }
    }
}

/// Held by each task of a monitor for as long as it lives.
#[derive(Debug)]
pub(crate) struct TaskToken {
    runtime: Arc<RuntimeTasks>,
    alive: Option<Token>,
}

impl TaskToken {
    /// What the task is to run. A panic ends it, and does not reach the runtime, which might end
    /// itself.
    pub(crate) async fn keep(self, future: impl Future<Output = ()>) {
        let mut future = pin!(Foreign::new(future));
        poll_fn(|cx| {
            if let (Some(worker_threads), Some(worker)) =
                (self.runtime.worker_threads.get(), worker_index())
            {
                worker_threads.add(worker);
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
        drop_after_this_task(self.alive.take());
    }
}

/// Drops `value` once the task that runs now is off its runtime's list; outside a task, at once.
///
/// A future is dropped a moment before its task is, and on another thread that moment can be seen.
/// What yields is woken by the same worker, after it is done with the task.
fn drop_after_this_task(value: impl Send + Sync + 'static) {
    struct DropOnWake<T>(#[allow(dead_code, reason = "dropped with the waker")] T);

    impl<T: Send + Sync + 'static> Wake for DropOnWake<T> {
        fn wake(self: Arc<DropOnWake<T>>) {}
    }

    let waker = Waker::from(Arc::new(DropOnWake(value)));
    let yielding = pin!(tokio::task::yield_now());
    // Nothing is to be done when it is ready: the waker alone is of use.
    let (Poll::Ready(()) | Poll::Pending) = yielding.poll(&mut Context::from_waker(&waker));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_does_not_reach_the_runtime() {
        let tasks = Tasks::default();
        let own = TaskTracker::new(&Handle::current(), tasks.clone());
        let panics = own.task().keep(async { panic!("somebody's own mistake") });
        tokio::spawn(panics).await.unwrap();
        tasks.gone().await;
        assert_eq!(own.runtime().count(), 0);
    }
}
