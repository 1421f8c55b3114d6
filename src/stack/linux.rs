//! Stacks on Linux.

mod calls;
mod capture;
mod cut;
mod elf;
mod memory;
mod modules;
mod patience;
mod prologue;
mod resolver;
mod running;
mod symbols;
mod unwind;

pub(crate) use capture::{Capture, capture, follow, identify};
pub(crate) use resolver::Resolver;
pub(crate) use running::Run;

pub(crate) use super::sys::{introduce, own_id};

/// Whether stacks are taken here at all.
pub(crate) const ARE_TAKEN: bool = true;

#[cfg(test)]
mod tests;
