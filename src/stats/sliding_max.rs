//! The longest of the newest lags.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The maximum of the last `window` lags, in amortised constant time for each.
///
/// Kept are only those lags that can still become the maximum: each is shorter than all before it.
/// A new lag drops the shorter ones from the back, each lag is dropped once.
#[derive(Debug)]
pub(crate) struct SlidingMax {
    window: NonZeroUsize,
    candidates: VecDeque<Candidate>,
    /// The number of lags so far.
    seen: u64,
}

#[derive(Debug)]
struct Candidate {
    lag: Duration,
    /// `seen` before it.
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

    /// The maximum with `lag`.
    pub(crate) fn push(&mut self, lag: Duration) -> Duration {
        while self.candidates.back().is_some_and(|last| last.lag <= lag) {
            self.candidates.pop_back();
        }
        let number = self.seen;
        self.candidates.push_back(Candidate { lag, number });
        self.seen += 1;
        // One lag comes, so at most one is too old.
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
