//! How many requests a second are answered. Pure: the time is passed in.

use std::time::{Duration, Instant};

/// Requests for which there is room at once.
const BURST: u32 = 400;

/// What one request takes of the time: 200 a second.
const EACH: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Limit {
    /// When all room is there again.
    full_at: Instant,
}

impl Limit {
    pub(super) fn new(now: Instant) -> Limit {
        Limit { full_at: now }
    }

    /// Whether there is room for one more request.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let from = self.full_at.max(now);
        let has_room = from.saturating_duration_since(now) <= EACH * (BURST - 1);
        if has_room {
            self.full_at = from + EACH;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn has_a_burst_and_then_a_rate() {
        let mut now = clock::now();
        let mut limit = Limit::new(now);
        let taken = |limit: &mut Limit, now| (0..1_000).filter(|_| limit.take(now)).count();
        assert_eq!(taken(&mut limit, now), 400);
        now += Duration::from_secs(1);
        assert_eq!(taken(&mut limit, now), 200);
        now += Duration::from_secs(60);
        assert_eq!(taken(&mut limit, now), 400);
    }
}
