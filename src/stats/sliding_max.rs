//! The longest of the newest lags. It knows no time, only a number of lags.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The maximum of the last `window` lags, in amortised constant time per lag.
///
/// It keeps only the lags that can still become the maximum: each is shorter than all before it. A new lag
/// removes those that are not longer from the back, and each lag is removed once.
#[derive(Debug)]
pub(crate) struct SlidingMax {
    window: NonZeroUsize,
    candidates: VecDeque<Candidate>,
    /// Counts the lags so far.
    seen: u64,
}

#[derive(Debug)]
struct Candidate {
    lag: Duration,
    /// Numbers the lags, from zero.
    number: u64,
}

impl SlidingMax {
    pub(crate) fn new(window: NonZeroUsize) -> SlidingMax {
        SlidingMax {
            window,
            candidates: VecDeque::new(),
            seen: 0,
        }
    }

    /// Adds `lag` and returns the maximum.
    pub(crate) fn push(&mut self, lag: Duration) -> Duration {
        while self.candidates.back().is_some_and(|last| last.lag <= lag) {
            self.candidates.pop_back();
        }
        let number = self.seen;
        self.candidates.push_back(Candidate { lag, number });
        self.seen += 1;
        // One lag was added, so at most one is too old.
        let oldest = self.seen.saturating_sub(self.window.get() as u64);
        if self
            .candidates
            .front()
            .is_some_and(|first| first.number < oldest)
        {
            self.candidates.pop_front();
        }
        self.candidates.front().map_or(lag, |longest| longest.lag)
    }
}
