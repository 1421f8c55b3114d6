//! The adapter that averages the lag over time. The arithmetic is in `stats`.

use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;
use crate::stats;

use super::adapter::{Adapter, adapter};
use super::elapsed::Elapsed;
use super::smooth::{Figure, Smooth};

adapter! {
    /// The stream of [`ewma`](super::SampleStreamExt::ewma).
    Ewma: Smooth<OverTime> => Sample
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

impl<St: Stream> Ewma<St> {
    pub(super) fn new(source: St, half_life: Duration) -> Ewma<St> {
        let over_time = OverTime {
            average: stats::Ewma::new(half_life),
            elapsed: Elapsed::default(),
        };
        Ewma {
            adapter: Adapter::new(source, Smooth(over_time)),
        }
    }
}
