//! Reads the clocks: no other file does. Awake time, which is none of these, is in `watchdog/awake_clock.rs`.
#![allow(
    clippy::disallowed_methods,
    reason = "every other file asks this one for the time"
)]

use chrono::{DateTime, Utc};

/// Tokio's monotonic clock: the system's, or the virtual one where a test has paused it.
pub(crate) fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The system's monotonic clock, which never pauses.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The wall clock: for timestamps, never for durations.
pub(crate) fn utc_now() -> DateTime<Utc> {
    Utc::now()
}
