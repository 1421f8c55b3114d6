//! The stack of a stuck thread.

/// The stack of a stuck thread, innermost call first.
///
/// Nothing takes one yet, so [`Stall::trace`](crate::Stall::trace) is `None`.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {}
