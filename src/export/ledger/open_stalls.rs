//! The stalls that are open, derived from their reports. Counting them is the ledger's concern.

use std::time::{Duration, Instant};

use crate::stall::{Phase, Place, Stall, StallId};

/// The open stalls of one monitor: at most one for each worker, and any number for futures.
#[derive(Debug, Default)]
pub(in crate::export) struct OpenStalls(Vec<OpenStall>);

/// A stall that has not ended.
#[derive(Debug)]
pub(in crate::export) struct OpenStall {
    pub(in crate::export) id: StallId,
    place: Place,
    /// The series that the stall is counted in.
    pub(super) series: Option<Place>,
    /// The stall's duration in its latest report, and when the exporter received that.
    reported: Duration,
    reported_at: Instant,
    /// How much of the duration `grow` has returned so far.
    counted: Duration,
    /// Whether reports were lost since the latest one: the end may be among them.
    in_doubt: bool,
}

/// What a report changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether this is the first report of the stall.
    pub(super) is_new: bool,
    /// The stalled time that was not counted before.
    pub(super) grown: Duration,
}

impl OpenStall {
    /// Returns how long the stall has certainly lasted by now. At twice the reported duration the
    /// next report is due; without it the stall is over, or the process has been paused.
    pub(in crate::export) fn lasted(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.reported_at);
        self.reported.saturating_add(since.min(self.reported))
    }

    /// Whether this is over, now that another stall is reported.
    fn is_surely_over(&self, newer: &Stall, now: Instant) -> bool {
        if self.place.worker().is_some() {
            // A worker is in one stall at a time.
            return self.place == newer.place;
        }
        // The next report is overdue, and its end may be lost.
        let since = now.saturating_duration_since(self.reported_at);
        self.in_doubt && since > self.reported.saturating_mul(2)
    }

    /// Returns the stalled time that was not counted before.
    pub(super) fn grow(&mut self, now: Instant) -> Duration {
        self.grow_to(self.lasted(now))
    }

    fn grow_to(&mut self, lasted: Duration) -> Duration {
        let grown = lasted.saturating_sub(self.counted);
        self.counted += grown;
        grown
    }
}

impl OpenStalls {
    /// Applies a report.
    pub(super) fn update(&mut self, stall: &Stall, series: Option<Place>, now: Instant) -> Change {
        if stall.missed > 0 {
            self.0.iter_mut().for_each(|open| open.in_doubt = true);
        }
        let known = self.0.iter().position(|open| open.id == stall.id);
        let counted = known.map(|index| self.0.swap_remove(index).counted);
        self.0.retain(|other| !other.is_surely_over(stall, now));
        let mut open = OpenStall {
            id: stall.id,
            place: stall.place.clone(),
            series,
            reported: stall.duration,
            reported_at: now,
            counted: counted.unwrap_or_default(),
            in_doubt: false,
        };
        let change = Change {
            is_new: counted.is_none(),
            grown: open.grow_to(stall.duration),
        };
        if stall.phase != Phase::Ended {
            self.0.push(open);
        }
        change
    }

    /// The stalls that are open as far as is known.
    pub(in crate::export) fn iter(&self) -> impl Iterator<Item = &OpenStall> {
        self.0.iter().filter(|open| !open.in_doubt)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenStall> {
        self.0.iter_mut().filter(|open| !open.in_doubt)
    }

    /// Returns the duration of the longest open stall of a series.
    pub(super) fn longest(&self, series: &Option<Place>, now: Instant) -> Duration {
        self.iter()
            .filter(|stall| stall.series == *series)
            .map(|stall| stall.lasted(now))
            .max()
            .unwrap_or_default()
    }

    /// Whether no stall is open, not even one in doubt.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
