//! A thread whose stack is wanted, and what it says of itself. How it is asked is the platform's.

use tokio::task;

/// A thread of this process, other than the calling one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// The thread's id in `/proc`.
    pub(crate) proc_id: u32,
    /// The thread's id for system calls. It differs where `/proc` is that of another pid namespace.
    pub(crate) id: u32,
}

/// What a thread answers when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The worker that the thread runs.
    pub(crate) worker: Option<usize>,
    /// The task that the thread polls.
    pub(crate) task: Option<task::Id>,
}

/// What a stack shows of the worker that its thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The thread polls a task, as a worker.
    Polls,
    /// The thread has handed its worker over, by `block_in_place`.
    HandedOver,
}

/// What a thread has noted of its polls, as seen from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether the thread is in a poll, in a `block_on` of the runtime in question.
    pub(crate) polls: bool,
    /// Whether the thread runs a scheduler.
    pub(crate) drives: bool,
    /// What is left of the budget of the poll.
    pub(crate) budget: Option<u8>,
    /// The id of the task that is polled, such as one of a `LocalSet`. Zero outside of tasks.
    pub(crate) task: Vec<u8>,
    /// The state of the thread's random numbers, which is new in each call of `block_on`.
    pub(crate) seed: Vec<u8>,
}
