//! What a caller learns of a refusal.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::Reason;

/// A request was refused, as the runtime is overloaded.
///
/// It costs next to nothing to make, and it allocates nothing. As an error of a tower service it is boxed:
///
/// ```
/// use loopmon::shed::{Overloaded, Reason};
///
/// fn is_shed(error: &(dyn std::error::Error + 'static)) -> bool {
///     error.downcast_ref::<Overloaded>().is_some()
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded {
    pub(super) reason: Reason,
    pub(super) retry_after: Duration,
}

impl Overloaded {
    /// The default of [`retry_after`](Self::retry_after): one second.
    pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

    pub(super) fn new(reason: Reason) -> Overloaded {
        Overloaded {
            reason,
            retry_after: Overloaded::DEFAULT_RETRY_AFTER,
        }
    }

    /// Why the request was refused.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// When the caller may try again. It is what was [set](super::ShedLayer::retry_after): nobody knows how long
    /// an overload lasts.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Lag => "overloaded: the event loop runs late",
            Reason::Overdue => "overloaded: the event loop does not run",
            Reason::Stalled => "overloaded: the event loop runs late, and something is stuck",
        })
    }
}

impl Error for Overloaded {}
