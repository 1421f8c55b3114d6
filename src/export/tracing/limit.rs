//! Limits how many stalls are logged when there are many. It logs nothing itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::stall::{Phase, Place, Stall, StallId};

/// How many stalls may be logged at once.
pub(super) const BURST: u32 = 10;

/// How long it takes until one more may be logged.
pub(super) const REFILL: Duration = Duration::from_secs(1);

/// A token bucket. A stall that was admitted once is admitted to its end, and so is every `Ongoing`
/// report.
#[derive(Debug)]
pub(super) struct Limit {
    tokens: u32,
    /// When the last token was added, or the bucket was full.
    filled_at: Instant,
    /// The stall of each place that is logged to its end.
    admitted: HashMap<Place, StallId>,
    suppressed: u64,
}

impl Limit {
    pub(super) fn new(now: Instant) -> Limit {
        Limit {
            tokens: BURST,
            filled_at: now,
            admitted: HashMap::new(),
            suppressed: 0,
        }
    }

    /// Returns `None` to suppress the report; otherwise, how many were suppressed since the latest
    /// that was not.
    pub(super) fn admit(&mut self, stall: &Stall, now: Instant) -> Option<u64> {
        self.refill(now);
        // The longest stalls are the worst, and report themselves ever more rarely.
        let is_admitted =
            stall.phase == Phase::Ongoing || self.admitted.get(&stall.place) == Some(&stall.id);
        if !is_admitted {
            let Some(left) = self.tokens.checked_sub(1) else {
                self.suppressed += 1;
                return None;
            };
            self.tokens = left;
        }
        if stall.phase == Phase::Ended {
            self.admitted.remove(&stall.place);
        } else {
            self.admitted.insert(stall.place.clone(), stall.id);
        }
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Returns how many reports were suppressed, once stalls have become few again.
    pub(super) fn rest(&mut self, now: Instant) -> Option<u64> {
        self.refill(now);
        (self.tokens == BURST).then(|| self.take_rest()).flatten()
    }

    /// Returns how many reports were suppressed.
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
