//! When a watched future was polled without a rest: of a root future, the watchdog cannot tell many polls from one.

use std::time::{Duration, Instant};

use crate::sync::Lock;

/// How many bursts are kept.
const MOST: usize = 1_024;

/// A rest of this part of the threshold ends a burst.
const REST: u32 = 8;

/// Polls on one thread that follow each other without a rest, or one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Burst {
    /// The number of the thread.
    pub(super) thread: u32,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// The bursts of one future that have lasted for the threshold, and the last one.
#[derive(Debug)]
pub(super) struct Bursts {
    threshold: Duration,
    kept: Lock<Vec<Burst>>,
}

impl Burst {
    pub(super) fn lasted(self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

impl Bursts {
    pub(super) fn new(threshold: Duration) -> Bursts {
        Bursts {
            threshold,
            kept: Lock::default(),
        }
    }

    /// Adds a poll.
    pub(super) fn add(&self, poll: Burst) {
        let follows = |last: &&mut Burst| {
            let rest = poll.began.saturating_duration_since(last.ended);
            last.thread == poll.thread && rest < self.threshold / REST
        };
        self.kept.with(|kept| {
            if let Some(last) = kept.last_mut().filter(follows) {
                last.ended = poll.ended;
                return;
            }
            if kept
                .last()
                .is_some_and(|last| last.lasted() < self.threshold)
            {
                kept.pop();
            }
            if kept.len() < MOST {
                kept.push(poll);
            }
        });
    }

    pub(super) fn take(&self) -> Vec<Burst> {
        self.kept.with(std::mem::take)
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn polls_without_a_rest_are_a_burst() {
        let bursts = Bursts::new(Duration::from_millis(80));
        let start = clock::now();
        let burst = |thread, began, ended| Burst {
            thread,
            began: start + Duration::from_millis(began),
            ended: start + Duration::from_millis(ended),
        };
        for poll in [
            burst(1, 0, 50), // too short
            burst(1, 60, 100),
            burst(1, 109, 149),
            burst(2, 149, 200), // another thread
            burst(1, 200, 290),
        ] {
            bursts.add(poll);
        }
        assert_eq!(bursts.take(), [burst(1, 60, 149), burst(1, 200, 290)]);
    }
}
