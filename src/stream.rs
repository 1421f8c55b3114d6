//! Adapters.

mod adapter;
mod elapsed;
mod ewma;
mod filter;
mod lag_above;
mod lag_alerts;
mod lag_below;
#[cfg(feature = "histogram")]
mod lag_summary;
mod lag_sustained;
mod moving_average;
mod moving_max;
mod moving_percentile;
mod smooth;
#[cfg(feature = "histogram")]
mod summarize;

use std::num::NonZeroUsize;
use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;
use crate::stats::Percentile;

pub use ewma::Ewma;
pub use lag_above::LagAbove;
pub use lag_alerts::{Alert, Hysteresis, LagAlerts};
pub use lag_below::LagBelow;
#[cfg(feature = "histogram")]
pub use lag_summary::LagSummary;
pub use lag_sustained::LagSustained;
pub use moving_average::MovingAverage;
pub use moving_max::MovingMax;
pub use moving_percentile::MovingPercentile;
#[cfg(feature = "histogram")]
pub use summarize::Summarize;

/// Adapters for streams of samples.
pub trait SampleStreamExt: Stream<Item = Sample> {
    /// x
    fn lag_above(self, threshold: Duration) -> LagAbove<Self>
    where
        Self: Sized,
    {
        LagAbove::new(self, threshold)
    }

    /// x
    fn lag_below(self, threshold: Duration) -> LagBelow<Self>
    where
        Self: Sized,
    {
        LagBelow::new(self, threshold)
    }

    /// x
    fn lag_sustained(self, threshold: Duration, for_at_least: Duration) -> LagSustained<Self>
    where
        Self: Sized,
    {
        LagSustained::new(self, threshold, for_at_least)
    }

    /// x
    fn moving_average(self, window: NonZeroUsize) -> MovingAverage<Self>
    where
        Self: Sized,
    {
        MovingAverage::new(self, window)
    }

    /// x
    fn ewma(self, half_life: Duration) -> Ewma<Self>
    where
        Self: Sized,
    {
        Ewma::new(self, half_life)
    }

    /// x
    fn moving_max(self, window: NonZeroUsize) -> MovingMax<Self>
    where
        Self: Sized,
    {
        MovingMax::new(self, window)
    }

    /// x
    fn moving_percentile(
        self,
        window: NonZeroUsize,
        percentile: Percentile,
    ) -> MovingPercentile<Self>
    where
        Self: Sized,
    {
        MovingPercentile::new(self, window, percentile)
    }

    /// x
    fn lag_alerts(self, thresholds: Hysteresis) -> LagAlerts<Self>
    where
        Self: Sized,
    {
        LagAlerts::new(self, thresholds)
    }

    /// x
    #[cfg(feature = "histogram")]
    fn summarize(self, every: Duration) -> Summarize<Self>
    where
        Self: Sized,
    {
        Summarize::new(self, every)
    }
}

impl<St: Stream<Item = Sample> + ?Sized> SampleStreamExt for St {}
