//! A share in proportion to how far the average lag exceeds the target.

use std::time::Duration;

use super::observation::Observation;
use crate::stats::Ewma;

#[derive(Debug)]
pub(in crate::shed) struct Proportional {
    target: Duration,
    average: Ewma,
}

impl Proportional {
    pub(super) fn new(target: Duration, half_life: Duration) -> Proportional {
        let mut average = Ewma::new(half_life);
        // Before the first sample nothing was late. So a single late one does not refuse everything.
        average.push(Duration::ZERO, Duration::ZERO);
        Proportional { target, average }
    }

    pub(super) fn update(&mut self, seen: Observation) -> f64 {
        let average = self.average.push(seen.lag, seen.elapsed);
        let excess = average.saturating_sub(self.target);
        if excess.is_zero() {
            return 0.0;
        }
        // A target of zero gives infinity, which is everything.
        excess.as_secs_f64() / self.target.as_secs_f64()
    }
}
