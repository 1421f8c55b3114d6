//! What stands in for stacks where none are taken.

use std::time::Instant;

use super::settings::StackCapture;
use super::target::{Identity, Target};
use super::trace::StackTrace;

/// Whether stacks are taken here at all.
pub(crate) const ARE_TAKEN: bool = false;

/// There is none.
#[derive(Debug)]
pub(crate) enum Capture {}

impl Capture {
    pub(crate) fn identity(&self) -> Option<Identity> {
        match *self {}
    }

    pub(crate) fn shows_calls(&self) -> bool {
        match *self {}
    }
}

#[derive(Debug, Default)]
pub(crate) struct OnCpuTracker(());

pub(crate) fn capture(
    _: Target,
    _: &mut OnCpuTracker,
    _: StackCapture,
    _: Instant,
) -> Option<Capture> {
    None
}

pub(crate) fn follow(_: Target, _: &mut OnCpuTracker, _: StackCapture) {}

pub(crate) fn identify(
    _: Target,
    _: &mut OnCpuTracker,
    _: StackCapture,
    _: Instant,
) -> Option<Identity> {
    None
}

pub(crate) fn introduce() {}

pub(crate) fn own_id() -> Option<u32> {
    None
}

#[derive(Default)]
pub(crate) struct Resolver(());

impl Resolver {
    pub(crate) fn resolve(&mut self, capture: Capture) -> StackTrace {
        match capture {}
    }
}
