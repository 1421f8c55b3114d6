//! Where a stall is. How it is detected there is the watchdog's concern.

use std::fmt;
use std::sync::Arc;

/// Where a [`Stall`](crate::Stall) is.
///
/// `Display` prints the words that begin a stall's line: `worker 3`, `the root future`, `future accept`.
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
    /// The future that a `multi_thread` runtime polls in `block_on`, such as that of
    /// `#[tokio::main] async fn main()`. It runs on the thread that has called `block_on`, which is no worker.
    /// It is [detected](crate::docs::stalls#the-future-of-block_on) with the `stack` feature on Linux.
    RootFuture,
    /// A future that was [instrumented](crate::Monitor::instrument), by its name.
    Future(Arc<str>),
}

impl Place {
    /// What kind of place it is.
    #[cfg(feature = "tracing")]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Place::Worker(_) => "worker",
            Place::RootFuture => "root future",
            Place::Future(_) => "future",
        }
    }

    /// The name of an instrumented future.
    #[cfg(feature = "_export")]
    pub(crate) fn future(&self) -> Option<&Arc<str>> {
        match self {
            Place::Worker(_) | Place::RootFuture => None,
            Place::Future(name) => Some(name),
        }
    }

    pub(crate) fn worker(&self) -> Option<usize> {
        match self {
            Place::Worker(index) => Some(*index),
            Place::RootFuture | Place::Future(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Worker(index) => write!(f, "worker {index}"),
            Place::RootFuture => f.write_str("the root future"),
            Place::Future(name) => write!(f, "future {name}"),
        }
    }
}
