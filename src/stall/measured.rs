//! What the watchdog measures of a stall beside what users see: for those who must know whether the code is to
//! blame, and not the machine.

use std::time::{Duration, Instant};

/// It does not take part in comparisons: reports with equal public fields are equal.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, reason = "only a test of the user's asks")
)]
pub(crate) struct Measured {
    /// When this was measured. `None` if it is no report of the watchdog's.
    pub(crate) at: Option<Instant>,
    /// How long the stall has lasted for certain, without pauses of the process.
    pub(crate) at_least: Micros,
    /// What the thread did meanwhile, where that is known.
    pub(crate) share: Option<Share>,
}

/// How much of a stall the thread may have waited for a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// The time from the first evidence to the last that was read while the stall went on.
    pub(crate) passed: Micros,
    /// How long the thread has run.
    pub(crate) on_cpu: Micros,
    /// How often the thread was put on a CPU meanwhile, but for the times that it was only asked.
    pub(crate) turns: u32,
    /// How long the thread has waited for a CPU, at the most: in that time or, at the end of the stall, in all of
    /// the time since the first evidence.
    pub(crate) waited: Micros,
}

/// A short form of a duration, as reports are copied: microseconds, an hour at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Micros(u32);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Micros {
        Micros(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX))
    }
}

#[cfg(feature = "testing")]
impl From<Micros> for Duration {
    fn from(micros: Micros) -> Duration {
        Duration::from_micros(micros.0.into())
    }
}

impl PartialEq for Measured {
    fn eq(&self, _: &Measured) -> bool {
        true
    }
}
