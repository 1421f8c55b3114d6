//! Who is to blame for a stall, as far as its report shows. What they cost is in `culprit.rs`.

use std::fmt;

use crate::stack::{Brief, Frame, StackTrace};
use crate::stall::{Cause, Stall};

/// Who is to blame for stalls, from [`Culprit::blame`](crate::Culprit::blame).
///
/// A stall whose cause is [`Starved`](Cause::Starved) or [`ManyPolls`](Cause::ManyPolls) is blamed on the cause
/// alone: no single call made it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Blame {
    /// The innermost call of your own code: the [culprit](StackTrace::culprit) of the stack.
    Own(CallSite),
    /// The outermost known call of the task, if no call is known to be yours.
    Outermost(CallSite),
    /// The cause alone, if there is no stack or no function on it has a name.
    Cause(Cause),
}

/// A place in code. All calls from there are one.
///
/// `Display` prints `shop::orders::save at src/orders.rs:41`, or what is known of that.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CallSite {
    /// The function, without generic arguments. A closure or an async block counts as the function that it is
    /// in.
    pub function: Option<String>,
    /// The source file, with the path that the compiler recorded. `None` without debug information.
    pub file: Option<String>,
    /// The line in the source file. `None` without debug information.
    pub line: Option<u32>,
}

impl CallSite {
    fn brief(&self) -> Brief<'_> {
        Brief {
            function: self.function.as_deref(),
            file: self.file.as_deref(),
            line: self.line,
        }
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.brief().fmt(f)
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blame::Own(call) => call.fmt(f),
            Blame::Outermost(call) => write!(f, "{call} (outermost)"),
            Blame::Cause(cause) => cause.fmt(f),
        }
    }
}

/// A [`Blame`] that is still part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Blamed<'a> {
    Own(Brief<'a>),
    Outermost(Brief<'a>),
    Cause(Cause),
}

impl<'a> Blamed<'a> {
    pub(super) fn of(stall: &'a Stall) -> Blamed<'a> {
        let by_code = !matches!(stall.cause, Cause::Starved | Cause::ManyPolls);
        let trace = stall.trace.as_deref().filter(|_| by_code);
        trace
            .and_then(Blamed::on)
            .unwrap_or(Blamed::Cause(stall.cause))
    }

    fn on(trace: &'a StackTrace) -> Option<Blamed<'a>> {
        if let Some(culprit) = trace.culprit() {
            return Some(Blamed::Own(culprit.brief()));
        }
        if trace.is_unwinding() {
            return None;
        }
        let has_name = |frame: &&Frame| frame.function().is_some();
        let outermost = trace.user_frames().iter().rev().find(has_name)?;
        Some(Blamed::Outermost(outermost.brief()))
    }

    pub(super) fn is(self, blame: &'a Blame) -> bool {
        self == match blame {
            Blame::Own(call) => Blamed::Own(call.brief()),
            Blame::Outermost(call) => Blamed::Outermost(call.brief()),
            Blame::Cause(cause) => Blamed::Cause(*cause),
        }
    }

    pub(super) fn to_blame(self) -> Blame {
        let owned = |brief: Brief<'_>| CallSite {
            function: brief.function.map(str::to_owned),
            file: brief.file.map(str::to_owned),
            line: brief.line,
        };
        match self {
            Blamed::Own(call) => Blame::Own(owned(call)),
            Blamed::Outermost(call) => Blame::Outermost(owned(call)),
            Blamed::Cause(cause) => Blame::Cause(cause),
        }
    }
}
