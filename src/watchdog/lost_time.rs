//! When the process did not run, for times that were not measured by the watchdog's own clock. Pure: what that
//! clock has lost is passed in.

use std::time::{Duration, Instant};

use super::awake_clock::EVERYDAY_LATENESS;

/// How many gaps are remembered. A poll that begins before all of them is known to the watchdog by then.
const REMEMBERED: usize = 64;

/// The latest gaps, each with its end and how long it was.
#[derive(Debug)]
pub(super) struct LostTime {
    gaps: [Option<(Instant, Duration)>; REMEMBERED],
    next: usize,
    /// How much time was lost in all.
    lost: Duration,
}

impl LostTime {
    pub(super) fn new() -> LostTime {
        LostTime {
            gaps: [None; REMEMBERED],
            next: 0,
            lost: Duration::ZERO,
        }
    }

    /// `lost` is how much time was lost until `now`, in all.
    pub(super) fn update(&mut self, now: Instant, lost: Duration) {
        let gap = lost.saturating_sub(self.lost);
        self.lost = lost;
        if gap >= EVERYDAY_LATENESS {
            self.add(now, gap);
        }
    }

    /// Remembers a gap.
    pub(super) fn add(&mut self, ended: Instant, gap: Duration) {
        self.gaps[self.next] = Some((ended, gap));
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// How much time was lost between two times.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Duration {
        let overlap = |&(end, lost): &(Instant, Duration)| {
            let began = end.checked_sub(lost).map_or(from, |began| began.max(from));
            to.min(end).saturating_duration_since(began)
        };
        self.gaps.iter().flatten().map(overlap).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn what_was_lost_between_two_times() {
        let began = clock::now();
        let at = |millis| began + Duration::from_millis(millis);
        let ms = Duration::from_millis;
        let mut lost = LostTime::new();
        lost.update(at(0), ms(0));
        // From 100 to 400, and from 500 to 550.
        lost.update(at(400), ms(300));
        // Jitter.
        lost.update(at(450), ms(310));
        lost.update(at(550), ms(360));
        for (from, to, expected) in [
            (0, 1_000, 350),
            (0, 90, 0),
            (450, 460, 0),
            (200, 1_000, 250),
            (450, 1_000, 50),
            (150, 250, 100),
            (600, 1_000, 0),
        ] {
            assert_eq!(lost.between(at(from), at(to)), ms(expected), "{from} {to}");
        }
    }
}
