//! Limits how many stalls are logged when there are many. It logs nothing itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::stall::{Phase, Stall, StallId};

/// How many stalls may be logged at once.
pub(super) const BURST: u32 = 10;

/// How long it takes until one more may be logged.
pub(super) const REFILL: Duration = Duration::from_secs(1);

/// How many stalls are remembered until they end. The ends of some are lost.
const MOST_ADMITTED: usize = 1_024;

/// A token bucket. A stall that was admitted once is admitted to its end, and so is every `Ongoing`
/// report.
#[derive(Debug)]
pub(super) struct Limit {
    tokens: u32,
    /// When the last token was added, or the bucket was full.
    filled_at: Instant,
    /// The latest stalls that are logged to their end.
    admitted: VecDeque<StallId>,
    suppressed: u64,
}

impl Limit {
    pub(super) fn new(now: Instant) -> Limit {
        Limit {
            tokens: BURST,
            filled_at: now,
            admitted: VecDeque::new(),
            suppressed: 0,
        }
    }

    /// Returns `None` to suppress the report; otherwise, how many were suppressed since the latest
    /// that was not.
    pub(super) fn admit(&mut self, stall: &Stall, now: Instant) -> Option<u64> {
        self.refill(now);
        // The longest stalls are the worst, and report themselves ever more rarely.
        let known = self.admitted.iter().position(|id| *id == stall.id);
        let is_admitted = stall.phase == Phase::Ongoing || known.is_some();
        if !is_admitted {
            let Some(left) = self.tokens.checked_sub(1) else {
                self.suppressed += 1;
                return None;
            };
            self.tokens = left;
        }
        if let Some(known) = known {
            self.admitted.remove(known);
        }
        if stall.phase != Phase::Ended {
            self.admitted.push_back(stall.id);
        }
        if self.admitted.len() > MOST_ADMITTED {
            self.admitted.pop_front();
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
