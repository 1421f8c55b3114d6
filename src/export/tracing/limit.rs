//! How many stalls are told when there are many.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::stall::{Phase, Stall};

/// How many stalls may be told at once.
pub(super) const BURST: u32 = 10;

/// After this long, one more.
pub(super) const REFILL: Duration = Duration::from_secs(1);

/// A token bucket. A stall that is let through once is told to its end, and one that goes on always
/// is.
#[derive(Debug)]
pub(super) struct Limit {
    tokens: u32,
    /// When the last token was put in, or the bucket was full.
    filled_at: Instant,
    /// By worker, when the stall began that is told to its end.
    told: BTreeMap<usize, DateTime<Utc>>,
    suppressed: u64,
}

impl Limit {
    pub(super) fn new(now: Instant) -> Limit {
        Limit {
            tokens: BURST,
            filled_at: now,
            told: BTreeMap::new(),
            suppressed: 0,
        }
    }

    /// Whether to tell this report, and how many have not been told since the last that was.
    pub(super) fn admit(&mut self, stall: &Stall, now: Instant) -> Option<u64> {
        self.refill(now);
        // What goes on is told at ever greater distances, and the longest stalls are the worst.
        let is_told =
            stall.phase == Phase::Ongoing || self.told.get(&stall.worker) == Some(&stall.began_at);
        if !is_told {
            let Some(left) = self.tokens.checked_sub(1) else {
                self.suppressed += 1;
                return None;
            };
            self.tokens = left;
        }
        if stall.phase == Phase::Ended {
            self.told.remove(&stall.worker);
        } else {
            self.told.insert(stall.worker, stall.began_at);
        }
        Some(std::mem::take(&mut self.suppressed))
    }

    /// How many have not been told, if stalls have become few again.
    pub(super) fn rest(&mut self, now: Instant) -> Option<u64> {
        self.refill(now);
        (self.tokens == BURST).then(|| self.take_rest()).flatten()
    }

    /// How many have not been told.
    pub(super) fn take_rest(&mut self) -> Option<u64> {
        let suppressed = std::mem::take(&mut self.suppressed);
        (suppressed > 0).then_some(suppressed)
    }

    pub(super) fn has_rest(&self) -> bool {
        self.suppressed > 0
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && now.saturating_duration_since(self.filled_at) >= REFILL {
            self.tokens += 1;
            self.filled_at += REFILL;
        }
        if self.tokens == BURST {
            self.filled_at = now;
        }
    }
}
