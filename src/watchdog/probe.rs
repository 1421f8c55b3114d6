//! What loopmon asks of a runtime and its threads: its own task (`task.rs`), its blocking pool (`pool.rs`),
//! one of its threads (`thread.rs`), and all its workers at once (`barrier.rs`).

pub(super) mod barrier;
pub(super) mod pool;
pub(super) mod task;
pub(super) mod thread;
