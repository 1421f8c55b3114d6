//! A thread whose stack is wanted, and what it is found to be.

use tokio::task;

/// A thread of this process, which is not the calling one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its number in `/proc`.
    pub(crate) shown: u32,
    /// The number by which the process reaches it. It differs where `/proc` is that of another pid
    /// namespace.
    pub(crate) own: u32,
}

/// Who a thread says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The worker that it runs.
    pub(crate) worker: Option<usize>,
    /// The task that it polls.
    pub(crate) task: Option<task::Id>,
}

/// What the stack of a thread shows of the worker it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// It polls a task, as a worker.
    Polls,
    /// It has handed its worker over, by `block_in_place`.
    HandedOver,
}
