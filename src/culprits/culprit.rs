//! What one culprit has cost. Who it is, is decided in `blame.rs`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::blame::Blame;
use crate::stack::StackTrace;
use crate::stall::{Cause, Place, Stall};

/// How many causes and places of one culprit are listed.
const MOST_PARTS: usize = 16;

/// A number of stalls, and their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    /// How many stalls.
    pub stalls: u64,
    /// How long they have lasted in all.
    pub total: Duration,
}

impl Tally {
    pub(super) fn add(&mut self, more: Tally) {
        self.stalls = self.stalls.saturating_add(more.stalls);
        self.total = self.total.saturating_add(more.total);
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Tally::default()
    }
}

/// What one culprit has cost, from [`Culprits`](crate::Culprits).
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Culprit {
    /// Who it is.
    pub blame: Blame,
    /// How many stalls, those that go on included.
    pub stalls: u64,
    /// How long they have lasted in all.
    pub total: Duration,
    /// How long the longest of them has lasted.
    pub longest: Duration,
    /// When the first of them began.
    pub first_seen: DateTime<Utc>,
    /// When the last of them ended, or was last reported.
    pub last_seen: DateTime<Utc>,
    /// The causes, that of the most time first. With more than 16, the rest is in the totals alone.
    pub causes: Vec<(Cause, Tally)>,
    /// The places, that of the most time first. With more than 16, the rest is in the totals alone.
    pub places: Vec<(Place, Tally)>,
    /// The stack of the longest stall that has one.
    pub trace: Option<Arc<StackTrace>>,
}

impl Culprit {
    pub(super) fn new(blame: Blame, stall: &Stall) -> Culprit {
        Culprit {
            blame,
            stalls: 0,
            total: Duration::ZERO,
            longest: Duration::ZERO,
            first_seen: stall.began_at,
            last_seen: stall.began_at,
            causes: Vec::new(),
            places: Vec::new(),
            trace: None,
        }
    }

    /// Adds what a stall has cost. `lasted` is all of it that is this culprit's, counted before or not.
    pub(super) fn add(&mut self, stall: &Stall, cost: Tally, lasted: Duration) {
        let mut tally = self.tally();
        tally.add(cost);
        (self.stalls, self.total) = (tally.stalls, tally.total);
        if stall.trace.is_some() && (self.trace.is_none() || lasted >= self.longest) {
            self.trace.clone_from(&stall.trace);
        }
        self.longest = self.longest.max(lasted);
        self.first_seen = self.first_seen.min(stall.began_at);
        let lasted = TimeDelta::from_std(stall.duration).unwrap_or(TimeDelta::MAX);
        let seen = stall.began_at.checked_add_signed(lasted);
        self.last_seen = self.last_seen.max(seen.unwrap_or(stall.began_at));
        add_part(&mut self.causes, &stall.cause, cost);
        add_part(&mut self.places, &stall.place, cost);
    }

    pub(super) fn tally(&self) -> Tally {
        Tally {
            stalls: self.stalls,
            total: self.total,
        }
    }

    pub(super) fn sort_parts(&mut self) {
        let total = |tally: &Tally| std::cmp::Reverse(tally.total);
        self.causes.sort_by_key(|(_, tally)| total(tally));
        self.places.sort_by_key(|(_, tally)| total(tally));
    }
}

/// A part that comes anew takes the place of the smallest.
fn add_part<T: Clone + PartialEq>(parts: &mut Vec<(T, Tally)>, part: &T, cost: Tally) {
    if let Some((_, tally)) = parts.iter_mut().find(|(known, _)| known == part) {
        return tally.add(cost);
    }
    if parts.len() == MOST_PARTS {
        let smallest = parts
            .iter()
            .enumerate()
            .min_by_key(|(_, part)| part.1.total);
        if let Some((index, _)) = smallest {
            parts.swap_remove(index);
        }
    }
    parts.push((part.clone(), cost));
}
