//! Stands in for `linux.rs` where stacks are not supported or not enabled: no stack is ever captured.

use std::time::Instant;

use tokio::runtime::Handle;

use super::settings::StackCapture;
use super::target::{Identity, Look, Target};
use super::trace::StackTrace;

/// Whether this platform supports stacks.
pub(crate) const ARE_TAKEN: bool = false;

/// Never exists.
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

impl OnCpuTracker {
    pub(crate) fn conclude(&mut self, _: bool) {}
}

pub(crate) fn capture(
    _: Target,
    _: &mut OnCpuTracker,
    _: &StackCapture,
    _: Instant,
) -> Option<Capture> {
    None
}

pub(crate) fn answered_late(_: &mut OnCpuTracker, _: &StackCapture) -> Option<Capture> {
    None
}

pub(crate) fn follow(_: Target, _: &mut OnCpuTracker, _: &StackCapture) {}

pub(crate) fn identify(
    _: Target,
    _: &mut OnCpuTracker,
    _: &StackCapture,
    _: Instant,
) -> Option<Identity> {
    None
}

pub(crate) fn sleeps(_: Target) -> Option<u64> {
    None
}

pub(crate) fn introduce() {}

pub(crate) fn block_signals() {}

pub(crate) fn with_signals<R>(act: impl FnOnce() -> R) -> R {
    act()
}

pub(crate) fn own_id() -> Option<u32> {
    None
}

/// Never exists.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ContextAddress {}

impl ContextAddress {
    pub(crate) fn here() -> Option<ContextAddress> {
        None
    }
}

/// Never exists.
#[derive(Debug)]
pub(crate) enum Witness {}

impl Witness {
    pub(crate) fn of(_: &Handle) -> Option<Witness> {
        None
    }

    pub(crate) fn look(&self, _: ContextAddress) -> Option<Look> {
        match *self {}
    }
}

#[derive(Default)]
pub(crate) struct Resolver(());

impl Resolver {
    pub(crate) fn resolve(&mut self, capture: Capture) -> StackTrace {
        match capture {}
    }
}
