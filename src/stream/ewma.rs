//! The adapter that averages the lag over time. The arithmetic is in `stats`.

use std::time::Duration;

use crate::sample::Sample;
use crate::stats;

use super::adapter::adapter;
use super::elapsed::Elapsed;
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`ewma`](super::SampleStreamExt::ewma).
    Ewma(half_life: Duration): Smooth<OverTime> => Sample {
        Smooth(OverTime {
            average: stats::Ewma::new(half_life),
            elapsed: Elapsed::default(),
        })
    }
}

#[derive(Debug)]
struct OverTime {
    average: stats::Ewma,
    elapsed: Elapsed,
}

impl Figure for OverTime {
    fn follow(&mut self, sample: &Sample) -> Duration {
        let elapsed = self.elapsed.until(sample);
        self.average.push(sample.lag, elapsed)
    }
}
