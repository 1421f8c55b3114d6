//! Where a stall is. How it is detected there is the watchdog's concern.

use std::fmt;
use std::sync::Arc;

/// Where a [`Stall`](crate::Stall) is.
///
/// `Display` prints the words that begin a stall's line: `worker 3`, `future accept`.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Place {
    /// A worker of the runtime, by its index in Tokio's metrics; 0 on a `current_thread` runtime.
    Worker(usize),
    /// A future that was [instrumented](crate::Monitor::instrument), by its name.
    Future(Arc<str>),
}

impl Place {
    /// What kind of place it is.
    #[cfg(feature = "tracing")]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Place::Worker(_) => "worker",
            Place::Future(_) => "future",
        }
    }

    /// The name of an instrumented future.
    #[cfg(feature = "_export")]
    pub(crate) fn future(&self) -> Option<&Arc<str>> {
        match self {
            Place::Worker(_) => None,
            Place::Future(name) => Some(name),
        }
    }

    pub(crate) fn worker(&self) -> Option<usize> {
        match self {
            Place::Worker(index) => Some(*index),
            Place::Future(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Worker(index) => write!(f, "worker {index}"),
            Place::Future(name) => write!(f, "future {name}"),
        }
    }
}
