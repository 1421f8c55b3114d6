//! What the lag of this moment is made of, read without a lock.

use std::time::Duration;

use tokio::time::Instant;

use super::Monitor;

/// A monitor that is attached, as seen at one moment.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "tower"),
    allow(dead_code, reason = "only shedding tells runs apart")
)]
pub(crate) struct Pulse {
    /// A number that no other run of the monitor has.
    pub(crate) run: usize,
    /// When the run began.
    pub(crate) since: Instant,
    /// The newest sample of this run.
    pub(crate) newest: Option<Beat>,
    /// When the next sample is due.
    pub(crate) due: Instant,
    /// By how much it is overdue.
    pub(crate) overdue: Duration,
}

/// What the pulse shows of a sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    /// Differs from that of the sample before.
    pub(crate) number: usize,
    pub(crate) taken: Instant,
    pub(crate) lag: Duration,
}

impl Pulse {
    /// Returns the lag of the newest sample; zero before the first.
    pub(super) fn lag(&self) -> Duration {
        self.newest.map_or(Duration::ZERO, |beat| beat.lag)
    }
}

impl Monitor {
    /// Returns the pulse at `now`, of the clock of the runtime. `None` if the monitor is not attached.
    pub(crate) fn pulse(&self, now: Instant) -> Option<Pulse> {
        let (run, since) = self.shared.since.read()?;
        // The newest sample may be from an earlier run.
        let newest = self.shared.latest.read_numbered();
        let newest = newest
            .and_then(|(number, sample)| {
                Some(Beat {
                    number,
                    taken: sample.taken.0?,
                    lag: sample.lag,
                })
            })
            .filter(|beat| beat.number != since.sample && beat.taken >= since.at);
        let last = newest.map_or(since.at, |beat| beat.taken);
        let due = last + self.shared.interval;
        Some(Pulse {
            run,
            since: since.at,
            newest,
            due,
            overdue: now.saturating_duration_since(due),
        })
    }
}
