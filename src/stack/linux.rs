//! Stacks on Linux.

mod capture;
mod image;
mod resolve;

pub(crate) use capture::{OnCpuTracker, capture, follow, identify};
pub(crate) use image::Capture;
pub(crate) use resolve::Resolver;

pub(crate) use super::sys::{introduce, own_id};

/// Whether stacks are taken here at all.
pub(crate) const ARE_TAKEN: bool = true;

#[cfg(test)]
mod tests;
