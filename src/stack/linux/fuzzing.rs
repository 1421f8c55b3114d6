//! What is read of `/proc` for a stack. See `crate::fuzzing`.

use super::capture::Status;
pub use super::resolve::fuzzing::{Program, mapping};

/// Whether a thread with this status would get the signal. `None` if the status cannot be read.
pub fn status(text: &str, signal: i32) -> Option<bool> {
    Some(Status::parse(text)?.check_delivery(signal).is_ok())
}
