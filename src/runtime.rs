//! What Tokio publishes of a runtime, and which tasks loopmon has on it. Not what follows from that: the
//! monitor takes samples, the watchdog finds stalls.

mod counters;
mod task_tracker;
mod worker_threads;

pub(crate) use counters::{ARE_PUBLISHED, WorkerCounters, total_busy};
pub(crate) use task_tracker::{RuntimeTasks, TaskTracker, Tasks, worker_here};
pub(crate) use worker_threads::WorkerThreads;
