//! The mean of the newest lags. It knows no time, only a number of lags.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::from_nanos;

/// The mean of the last `window` lags, in constant time per lag.
///
/// The sum is in whole nanoseconds, so it never drifts.
#[derive(Debug)]
pub(crate) struct SlidingMean {
    window: NonZeroUsize,
    lags: VecDeque<Duration>,
    /// Holds the sum of `lags`. It has room for 2^34 times `Duration::MAX`, more than fit into memory.
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

    /// Adds `lag` and returns the mean, rounded down to a nanosecond.
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
