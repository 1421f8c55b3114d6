//! A runtime under watch, as all threads of loopmon share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor, RuntimeMetrics, worker_index};

use super::Request;
use super::probe::task::{Meeting, Probe};
use crate::broadcast::Publisher;
use crate::runtime::TaskTracker;
use crate::runtime::WorkerCounters;
use crate::runtime::WorkerThreads;
use crate::stack::StackCapture;
use crate::stall::{OsThread, Stall};

/// A stall is looked for this often before it is told.
const LOOKS_PER_THRESHOLD: u32 = 5;
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) runtime: Handle,
    metrics: RuntimeMetrics,
    tasks: TaskTracker,
    pub(super) name: Option<Arc<str>>,
    pub(super) threshold: Duration,
    pub(super) rescue_timers: bool,
    pub(super) stack_capture: StackCapture,
    pub(super) publisher: Arc<Publisher<Stall>>,
    pub(super) has_many_workers: bool,
    pub(super) probe: Arc<Probe>,
    /// The worker that gave it to be watched, if it was one of its own.
    pub(super) inside: Option<usize>,
    /// Who may drive the runtime, but did something else when it was given to be watched: its number.
    outsider: Option<u32>,
    /// For each worker, whether the inspector has found that its thread does not drive it.
    left: Box<[AtomicBool]>,
    /// It is to be watched no longer.
    is_over: AtomicBool,
}

impl Subject {
    /// Begins with loopmon's task on the runtime. From inside the runtime the caller's own worker is
    /// known from the start.
    pub(super) fn new(request: Request) -> Arc<Subject> {
        let metrics = request.runtime.metrics();
        let workers = metrics.num_workers();
        let has_many_workers = request.runtime.runtime_flavor() != RuntimeFlavor::CurrentThread;
        let here = Handle::try_current().is_ok_and(|current| current.id() == request.runtime.id());
        let inside = worker_index().filter(|_| here);
        let worker_threads = request.tasks.runtime().worker_threads(workers);
        if let Some(worker) = inside {
            worker_threads.add(worker);
        }
        let probe = Probe::new(Meeting::of(request.tasks.clone(), workers));
        let task = request.tasks.task().keep(probe.task());
        let subject = Arc::new(Subject {
            metrics,
            tasks: request.tasks,
            name: request.name,
            threshold: request.threshold,
            rescue_timers: request.rescue_timers,
            stack_capture: request.stack_capture,
            publisher: request.publisher,
            has_many_workers,
            probe,
            inside,
            outsider: inside.is_none().then(|| OsThread::current().number()),
            left: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            is_over: AtomicBool::new(false),
            runtime: request.runtime,
        });
        subject.runtime.spawn(task);
        subject
    }

    pub(super) fn workers(&self) -> usize {
        self.left.len()
    }

    pub(super) fn worker_threads(&self) -> &WorkerThreads {
        self.tasks.runtime().worker_threads(self.workers())
    }

    /// Whether the worker was met last on the thread that gave the runtime to be watched from outside.
    pub(super) fn is_on_outsider(&self, worker: usize) -> bool {
        self.outsider.is_some() && self.worker_threads().number(worker) == self.outsider
    }

    /// What Tokio publishes of the worker. Takes no lock.
    pub(super) fn counters(&self, worker: usize) -> WorkerCounters {
        WorkerCounters::of(&self.metrics, worker)
    }

    /// What the runtime has to do: tasks, and those of them in the global queue.
    pub(super) fn load(&self) -> (usize, usize) {
        (
            self.metrics.num_alive_tasks(),
            self.metrics.global_queue_depth(),
        )
    }

    /// The thread of the worker has been found to do other things, or to be gone.
    pub(super) fn leave(&self, worker: usize) {
        self.left[worker].store(true, Ordering::Relaxed);
    }

    /// The same, for the watchdog, once.
    pub(super) fn take_left(&self, worker: usize) -> bool {
        let left = &self.left[worker];
        left.load(Ordering::Relaxed) && left.swap(false, Ordering::Relaxed)
    }

    /// How often to look at it.
    pub(super) fn tick(&self) -> Duration {
        (self.threshold / LOOKS_PER_THRESHOLD).clamp(SHORTEST_TICK, LONGEST_TICK)
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}
