//! Where a stall is. How it is detected there is the watchdog's concern.

use std::fmt;

/// Where a [`Stall`](crate::Stall) is.
///
/// `Display` prints the words that begin a stall's line: `worker 3`, `the root future`.
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
}

impl Place {
    pub(crate) fn worker(&self) -> Option<usize> {
        match *self {
            Place::Worker(index) => Some(index),
            Place::RootFuture => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Worker(index) => write!(f, "worker {index}"),
            Place::RootFuture => f.write_str("the root future"),
        }
    }
}
