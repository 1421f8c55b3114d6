//! The adapter that lets samples through once the lag has stayed above a threshold.

use std::time::Duration;

use crate::sample::Sample;

use super::adapter::adapter;
use super::elapsed::Elapsed;
use super::filter::{Filter, Gate};

adapter! {
    /// The stream of [`lag_sustained`](super::SampleStreamExt::lag_sustained).
    LagSustained(threshold: Duration, for_at_least: Duration): Filter<Sustained> => Sample {
        Filter::new(Sustained {
            threshold,
            for_at_least,
            elapsed: Elapsed::default(),
            above_for: None,
        })
    }
}

#[derive(Debug)]
struct Sustained {
    threshold: Duration,
    for_at_least: Duration,
    elapsed: Elapsed,
    /// Measures how long the lag has been above the threshold. `None` while it is not.
    above_for: Option<Duration>,
}

impl Gate for Sustained {
    fn passes(&mut self, sample: &Sample) -> bool {
        let elapsed = self.elapsed.until(sample);
        if sample.lag <= self.threshold {
            self.above_for = None;
            return false;
        }
        let above_for = self
            .above_for
            .map_or(Duration::ZERO, |before| before.saturating_add(elapsed));
        self.above_for = Some(above_for);
        above_for >= self.for_at_least
    }
}
