//! The mean of the newest lags.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::from_nanos;

/// The mean of up to `window` lags, in constant time for each.
///
/// The sum is kept in whole nanoseconds, so that it never drifts.
#[derive(Debug)]
pub(crate) struct SlidingMean {
    window: NonZeroUsize,
    lags: VecDeque<Duration>,
    /// Of `lags`. 2^34 times `Duration::MAX` fit, more than any memory holds.
    nanos: u128,
}

impl SlidingMean {
    pub(crate) fn new(window: NonZeroUsize) -> SlidingMean {
        SlidingMean {
            window,
            lags: VecDeque::new(),
            nanos: 0,
        }
    }

    /// The mean with `lag`, rounded down to a nanosecond.
    pub(crate) fn push(&mut self, lag: Duration) -> Duration {
        if self.lags.len() == self.window.get() {
            if let Some(oldest) = self.lags.pop_front() {
                self.nanos -= oldest.as_nanos();
            }
        }
        self.lags.push_back(lag);
        self.nanos += lag.as_nanos();
        from_nanos(self.nanos / self.lags.len() as u128)
    }
}
