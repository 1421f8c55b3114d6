//! Which of a runtime's tasks are loopmon's own.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::watch;

/// The counts of all runtimes that have tasks of loopmon, from however many monitors.
static RUNTIMES: LazyLock<Mutex<HashMap<Id, Weak<RuntimeTasks>>>> = LazyLock::new(Mutex::default);

fn runtimes() -> MutexGuard<'static, HashMap<Id, Weak<RuntimeTasks>>> {
    RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many tasks of loopmon a runtime has.
#[derive(Debug)]
pub(super) struct RuntimeTasks {
    runtime: Id,
    count: AtomicUsize,
}

impl RuntimeTasks {
    pub(super) fn of(runtime: &Handle) -> Arc<RuntimeTasks> {
        let runtime = runtime.id();
        let mut runtimes = runtimes();
        if let Some(tasks) = runtimes.get(&runtime).and_then(Weak::upgrade) {
            return tasks;
        }
        let tasks = Arc::new(RuntimeTasks {
            runtime,
            count: AtomicUsize::new(0),
        });
        runtimes.insert(runtime, Arc::downgrade(&tasks));
        tasks
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
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

/// Held by each task of a monitor for as long as it lives.
#[derive(Debug)]
pub(super) struct OwnTask {
    runtime: Arc<RuntimeTasks>,
    alive: watch::Receiver<()>,
}

impl OwnTask {
    /// `alive` tells the monitor, when the last one is dropped, that its tasks are gone.
    pub(super) fn new(runtime: Arc<RuntimeTasks>, alive: watch::Receiver<()>) -> OwnTask {
        runtime.count.fetch_add(1, Ordering::Relaxed);
        OwnTask { runtime, alive }
    }

    /// What the task is to run.
    pub(super) async fn keep(self, future: impl Future<Output = ()>) {
        let _kept = self;
        future.await;
    }
}

impl Clone for OwnTask {
    fn clone(&self) -> OwnTask {
        OwnTask::new(Arc::clone(&self.runtime), self.alive.clone())
    }
}

impl Drop for OwnTask {
    fn drop(&mut self) {
        self.runtime.count.fetch_sub(1, Ordering::Relaxed);
    }
}
