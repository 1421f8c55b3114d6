//! A watched runtime, as the threads of the watchdog share it: what to watch, and what to ask it. Not what
//! was found: `runtime_watch.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor, RuntimeMetrics};

use super::outlet::Outlet;
use super::probe::task::{Barriers, Probe};
use super::root_thread::{Installer, RootThread};
use crate::runtime::{RuntimeTasks, TaskTracker, WorkerCounters, WorkerThreads, worker_here};
use crate::stack::StackCapture;
use crate::stall::OsThread;

/// How many ticks there are in a threshold.
const TICKS_PER_THRESHOLD: u32 = 5;
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(20);

/// The longest tick of an idle runtime.
const LONGEST_IDLE_TICK: Duration = Duration::from_millis(100);

/// The time between two looks for stalls of this threshold.
pub(super) fn tick_of(threshold: Duration) -> Duration {
    (threshold / TICKS_PER_THRESHOLD).clamp(SHORTEST_TICK, LONGEST_TICK)
}

/// A runtime to be watched, and where to publish its stalls.
pub(crate) struct Request {
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) threshold: Duration,
    pub(crate) rescue_timers: bool,
    pub(crate) stack_capture: StackCapture,
    pub(crate) outlet: Arc<Outlet>,
    /// The thread that installed the monitor, if it may call `block_on`.
    pub(crate) installer: Option<Installer>,
}

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) runtime: Handle,
    metrics: RuntimeMetrics,
    tasks: TaskTracker,
    pub(super) name: Option<Arc<str>>,
    pub(super) threshold: Duration,
    pub(super) rescue_timers: bool,
    pub(super) stack_capture: StackCapture,
    pub(super) outlet: Arc<Outlet>,
    pub(super) has_many_workers: bool,
    pub(super) probe: Arc<Probe>,
    /// The worker that requested the watch, if that was one of this runtime.
    pub(super) inside: Option<usize>,
    /// The thread that may poll the root future.
    pub(super) root: Option<Arc<RootThread>>,
    /// The number of the thread that requested the watch from outside: it may drive the runtime, but does
    /// other things too.
    outsider: Option<u32>,
    /// For each worker, whether the inspector has found that its thread does not drive it.
    undriven: Box<[AtomicBool]>,
    is_over: AtomicBool,
}

impl Subject {
    /// Spawns loopmon's task on the runtime. If called on one of its workers, records that worker's thread.
    pub(super) fn new(request: Request) -> Arc<Subject> {
        let metrics = request.runtime.metrics();
        let workers = metrics.num_workers();
        let has_many_workers = request.runtime.runtime_flavor() != RuntimeFlavor::CurrentThread;
        let here = Handle::try_current().is_ok_and(|current| current.id() == request.runtime.id());
        let inside = worker_here().filter(|_| here);
        let worker_threads = request.tasks.runtime().worker_threads(workers);
        if request.stack_capture.signal.is_some() {
            worker_threads.expect_signals();
        }
        if let Some(worker) = inside {
            // The poll may have begun long ago.
            worker_threads.record(worker);
        }
        let here = || Installer::here(&request.runtime, &request.stack_capture);
        let installer = request.installer.or_else(here);
        let probe = Probe::new(Barriers::of(
            request.tasks.clone(),
            workers,
            request.threshold,
        ));
        let task = request.tasks.token().keep(probe.task());
        let subject = Arc::new(Subject {
            metrics,
            tasks: request.tasks,
            name: request.name,
            threshold: request.threshold,
            rescue_timers: request.rescue_timers,
            stack_capture: request.stack_capture,
            outlet: request.outlet,
            has_many_workers,
            probe,
            inside,
            root: installer.and_then(RootThread::new).map(Arc::new),
            outsider: inside.is_none().then(|| OsThread::current().number()),
            undriven: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            is_over: AtomicBool::new(false),
            runtime: request.runtime,
        });
        subject.runtime.spawn(task);
        subject
    }

    pub(super) fn workers(&self) -> usize {
        self.undriven.len()
    }

    pub(super) fn tasks(&self) -> &RuntimeTasks {
        self.tasks.runtime()
    }

    pub(super) fn worker_threads(&self) -> &WorkerThreads {
        self.tasks.runtime().worker_threads(self.workers())
    }

    /// Whether the worker was last observed on the thread that requested the watch from outside.
    pub(super) fn is_on_outsider(&self, worker: usize) -> bool {
        self.outsider.is_some() && self.worker_threads().number(worker) == self.outsider
    }

    /// Takes no lock.
    pub(super) fn counters(&self, worker: usize) -> WorkerCounters {
        WorkerCounters::of(&self.metrics, worker)
    }

    /// The number of live tasks, and of those in the global queue.
    pub(super) fn load(&self) -> (usize, usize) {
        (
            self.metrics.num_alive_tasks(),
            self.metrics.global_queue_depth(),
        )
    }

    /// Records that the thread of the worker does other things, or is gone.
    pub(super) fn set_undriven(&self, worker: usize) {
        self.undriven[worker].store(true, Ordering::Relaxed);
    }

    /// Whether that was recorded since the last call.
    pub(super) fn take_undriven(&self, worker: usize) -> bool {
        let undriven = &self.undriven[worker];
        undriven.load(Ordering::Relaxed) && undriven.swap(false, Ordering::Relaxed)
    }

    /// The time between two ticks of the runtime.
    pub(super) fn tick(&self) -> Duration {
        tick_of(self.threshold)
    }

    /// The same while the runtime is idle. A stall of one and a half thresholds is still seen while it lasts. Who
    /// has set a threshold below 100 ms wants to know soon.
    pub(super) fn idle_tick(&self) -> Duration {
        match self.tick() {
            LONGEST_TICK => (self.threshold / 2).min(LONGEST_IDLE_TICK),
            tick => tick,
        }
    }

    /// Asks the watchdog to watch the runtime no longer.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}
