//! The arithmetic of lag. It is pure: each lag, and where needed the time since the last one, is passed in.
//! It knows no streams and reads no clock.

mod ewma;
#[cfg(feature = "histogram")]
mod histogram;
mod percentile;
mod sliding_max;
mod sliding_mean;
mod sliding_percentile;

use std::time::Duration;

pub(crate) use ewma::Ewma;
#[cfg(feature = "histogram")]
pub(crate) use histogram::LagHistogram;
pub use percentile::Percentile;
pub(crate) use sliding_max::SlidingMax;
pub(crate) use sliding_mean::SlidingMean;
pub(crate) use sliding_percentile::SlidingPercentile;

/// The inverse of [`Duration::as_nanos`].
pub(crate) fn from_nanos(nanos: u128) -> Duration {
    const PER_SEC: u128 = 1_000_000_000;
    match u64::try_from(nanos) {
        Ok(nanos) => Duration::from_nanos(nanos),
        Err(_) => u64::try_from(nanos / PER_SEC).map_or(Duration::MAX, |secs| {
            Duration::new(secs, (nanos % PER_SEC) as u32)
        }),
    }
}
