//! How loopmon asks a runtime for evidence: by a task of its own (`task.rs`), by the blocking pool
//! (`pool.rs`), by one thread (`thread.rs`), and by all workers at once (`barrier.rs`). Not when.

pub(super) mod barrier;
pub(super) mod pool;
pub(super) mod task;
pub(super) mod thread;
