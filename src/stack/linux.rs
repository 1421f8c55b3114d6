//! Stacks on Linux: what `capture/` copies of a thread, `resolve/` turns into a trace. Neither imports the
//! other; they meet in `image.rs`.

mod capture;
mod context;
#[cfg(loopmon_fuzzing)]
pub(crate) mod fuzzing;
mod image;
mod resolve;

pub(crate) use capture::{OnCpuTracker, answered_late, capture, follow, identify, sleeps};
pub(crate) use context::{ContextAddress, Witness};
pub(crate) use image::Capture;
pub(crate) use resolve::Resolver;

pub(crate) use super::sys::{block_signals, introduce, own_id, with_signals};

/// Whether this platform supports stacks.
pub(crate) const ARE_TAKEN: bool = true;

#[cfg(test)]
mod tests;
