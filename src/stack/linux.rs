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
mod symbols;
mod unwind;

pub(crate) use capture::{Capture, capture, identify};
pub(crate) use resolver::Resolver;

pub(crate) use super::sys::introduce;

#[cfg(test)]
mod tests;
