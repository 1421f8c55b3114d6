//! Stacks on Linux.

mod calls;
mod capture;
mod cut;
mod debug;
mod elf;
mod elf_file;
mod file;
mod index;
mod memory;
mod modules;
mod paged;
mod patience;
mod prologue;
mod resolver;
mod rules;
mod running;
mod symbols;
mod unpack;
mod unwind;

pub(crate) use capture::{Capture, capture, follow, identify};
pub(crate) use resolver::Resolver;
pub(crate) use running::Run;

pub(crate) use super::sys::{introduce, own_id};

/// Whether stacks are taken here at all.
pub(crate) const ARE_TAKEN: bool = true;

#[cfg(test)]
mod tests;
