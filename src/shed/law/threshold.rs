//! All or nothing, with hysteresis.

use super::observation::Observation;
use crate::stream::Hysteresis;

#[derive(Debug)]
pub(in crate::shed) struct Threshold {
    thresholds: Hysteresis,
    overloaded: bool,
}

impl Threshold {
    pub(super) fn new(thresholds: Hysteresis) -> Threshold {
        Threshold {
            thresholds,
            overloaded: false,
        }
    }

    pub(super) fn update(&mut self, seen: Observation) -> f64 {
        if seen.lag >= self.thresholds.raise_at() {
            self.overloaded = true;
        } else if seen.lag <= self.thresholds.clear_at() {
            self.overloaded = false;
        }
        f64::from(u8::from(self.overloaded))
    }
}
