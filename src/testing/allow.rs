//! One entry of the list of what may block, and which stalls it matches.

use std::fmt;
use std::sync::Arc;

use crate::stack::{StackTrace, paths};
use crate::stall::{Cause, Place};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Allowed {
    /// The beginning of a path.
    Path(String),
    Cause(Cause),
}

impl Allowed {
    pub(super) fn path(prefix: &str) -> Allowed {
        Allowed::Path(prefix.replace('-', "_"))
    }

    pub(super) fn is_path(&self) -> bool {
        matches!(self, Allowed::Path(_))
    }

    pub(super) fn matches(
        &self,
        cause: Cause,
        place: &Place,
        trace: Option<&Arc<StackTrace>>,
    ) -> bool {
        match self {
            Allowed::Path(prefix) => {
                let begins = |path: &str| !prefix.is_empty() && path.starts_with(&**prefix);
                let is_on_stack = trace.is_some_and(|trace| {
                    let functions = trace.user_frames().iter().filter_map(|it| it.function());
                    functions.flat_map(paths).flatten().any(begins)
                });
                is_on_stack || matches!(place, Place::Future(name) if begins(name))
            }
            Allowed::Cause(Cause::Blocked { syscall: None }) => {
                matches!(cause, Cause::Blocked { .. })
            }
            Allowed::Cause(allowed) => *allowed == cause,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::Path(prefix) => write!(f, "{prefix:?}"),
            Allowed::Cause(cause) => write!(f, "{cause}"),
        }
    }
}
