//! The stalls that go on, put together from what is told of them.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::stall::{Phase, Stall};

/// The stalls of one monitor that go on, at most one for each worker.
#[derive(Debug, Default)]
pub(super) struct OpenStalls(Vec<OpenStall>);

/// A stall that goes on.
#[derive(Debug)]
pub(super) struct OpenStall {
    pub(super) worker: usize,
    began_at: DateTime<Utc>,
    /// How long it had lasted when it was told last, and when that was.
    told: Duration,
    told_at: Instant,
    /// How much of it has been given out as grown.
    counted: Duration,
    /// Reports were lost since, its end may be among them.
    in_doubt: bool,
}

/// What a report has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// It is the first that is heard of the stall.
    pub(super) is_new: bool,
    /// How much longer it is than was known.
    pub(super) grown: Duration,
}

impl OpenStall {
    fn new(stall: &Stall, now: Instant) -> OpenStall {
        OpenStall {
            worker: stall.worker,
            began_at: stall.began_at,
            told: Duration::ZERO,
            told_at: now,
            counted: Duration::ZERO,
            in_doubt: false,
        }
    }

    /// How long it has lasted by now, as far as that is certain: at twice what was told it would be
    /// told again. If it is not, it is over, or the process has been paused.
    pub(super) fn lasted(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.told_at);
        self.told.saturating_add(since.min(self.told))
    }

    /// How much longer it is than was known.
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
    /// Takes a report in.
    pub(super) fn update(&mut self, stall: &Stall, now: Instant) -> Change {
        if stall.missed > 0 {
            self.0.iter_mut().for_each(|open| open.in_doubt = true);
        }
        let known = self
            .0
            .iter()
            .position(|open| open.worker == stall.worker && open.began_at == stall.began_at);
        let mut open = match known {
            Some(index) => self.0.swap_remove(index),
            None => OpenStall::new(stall, now),
        };
        // A worker is in one stall at a time.
        self.0.retain(|other| other.worker != stall.worker);
        open.told = stall.duration;
        open.told_at = now;
        open.in_doubt = false;
        let change = Change {
            is_new: known.is_none(),
            grown: open.grow_to(stall.duration),
        };
        if stall.phase != Phase::Ended {
            self.0.push(open);
        }
        change
    }

    /// Those that go on for all that is known.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenStall> {
        self.0.iter().filter(|open| !open.in_doubt)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenStall> {
        self.0.iter_mut().filter(|open| !open.in_doubt)
    }

    /// For how long a worker has been stalled, or the one that has been for longest.
    pub(super) fn longest(&self, worker: Option<usize>, now: Instant) -> Duration {
        self.iter()
            .filter(|stall| worker.is_none_or(|worker| worker == stall.worker))
            .map(|stall| stall.lasted(now))
            .max()
            .unwrap_or_default()
    }

    /// Whether none goes on, not even one that is in doubt.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
