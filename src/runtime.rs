//! What Tokio publishes of a runtime, and what loopmon itself has on it. Not what is made of that: a sample
//! is made by the monitor, a stall is found by the watchdog.

mod counters;
mod task_tracker;
mod worker_threads;

pub(crate) use counters::{ARE_PUBLISHED, WorkerCounters, total_busy};
pub(crate) use task_tracker::{RuntimeTasks, TaskTracker, Tasks};
pub(crate) use worker_threads::WorkerThreads;
