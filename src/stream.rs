//! Adapters for streams of samples: filters, averages, percentiles, alerts and summaries.
//!
//! [`SampleStreamExt`] has the adapters as methods and documents each of them. This module has their
//! types, and documents what they have in common. The [guide](crate::docs::combinators) helps to choose
//! one.
//!
//! # Chaining
//!
//! All but the last two kinds return samples again, so they chain in any order that makes sense: an
//! alert on an average, a percentile of the samples that pass a filter. They work on every `Stream` of
//! samples, not only on [`Samples`](crate::Samples): on several merged streams, or on a stream of your own.
//!
//! # What was missed
//!
//! A reader that is too slow loses samples, and [`Sample::missed`] counts them. Every adapter keeps the
//! count: each lost sample is counted in exactly one item of the output, the next one. When a filter drops
//! a sample, it adds that sample's `missed` to the next sample that passes.
//!
//! ```text
//! lag        60    10    20    80
//! missed      1     2     4     8
//!             |                 |
//! lag        60                80      lag_above(50)
//! missed      1                14
//! ```
//!
//! # Time
//!
//! Adapters that depend on time use the time at which a sample was taken, not the time at which it is
//! read: a slow reader gets the same results as a fast one. A monitor's samples carry the time of Tokio's
//! monotonic clock, so setting the wall clock changes nothing. With the paused clock of tests this time is
//! virtual.
//!
//! Other samples, made by [`Sample::new`] or read from a file, have only their
//! [`data_at`](Sample::data_at). If it goes back, no time has passed, and time continues from there. If it
//! jumps forward, that much time has passed.
//!
//! # The end
//!
//! An adapter ends with its source and does not poll the source again. It is a
//! [`FusedStream`](futures::stream::FusedStream).
//!
//! # Cost
//!
//! No adapter allocates for each sample. A window allocates now and then while it grows, and nothing once it
//! is full. Every adapter takes less than 100 ns per sample at a window of 1,000 on a common machine;
//! `benches/README.md` in the repository has the figures.

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

/// Adapters for every stream of [`Sample`]s.
///
/// With this trait in scope, they are methods of [`Samples`](crate::Samples). The [module](self)
/// documents what they have in common: chaining, missed samples, time, the end, and cost.
///
/// The pictures show lags in milliseconds.
pub trait SampleStreamExt: Stream<Item = Sample> {
    /// Lets through the samples whose lag is longer than `threshold`.
    ///
    /// Answers: when did a task wait for longer than this? A lag of exactly `threshold` does not pass.
    ///
    /// ```text
    /// in      0    60    50    51     0
    ///               |           |
    /// out          60          51          lag_above(50)
    /// ```
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::SampleStreamExt;
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let monitor = loopmon::create(Duration::from_millis(10), ())?;
    /// let mut late = monitor.subscribe().lag_above(Duration::from_millis(50));
    ///
    /// tokio::time::sleep(Duration::from_millis(195)).await; // no lag
    /// tokio::time::advance(Duration::from_millis(95)).await; // a stall, to the paused clock
    ///
    /// let sample = late.next().await.unwrap();
    /// assert_eq!(sample.lag, Duration::from_millis(90));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// One comparison per sample, no memory.
    fn lag_above(self, threshold: Duration) -> LagAbove<Self>
    where
        Self: Sized,
    {
        LagAbove::new(self, threshold)
    }

    /// Lets through the samples whose lag is shorter than `threshold`.
    ///
    /// Answers: when is the runtime healthy? Use it to start work that should wait until then. A lag of
    /// exactly `threshold` does not pass.
    ///
    /// ```text
    /// in     60    50    49     0    60
    ///                     |     |
    /// out                49     0          lag_below(50)
    /// ```
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::SampleStreamExt;
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let monitor = loopmon::create(Duration::from_millis(10), ())?;
    /// let mut healthy = monitor.subscribe().lag_below(Duration::from_millis(5));
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(Duration::from_millis(100)).await; // a stall
    ///
    /// // The sample after the stall is the first that passes.
    /// assert_eq!(healthy.next().await.unwrap().lag, Duration::ZERO);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// One comparison per sample, no memory.
    fn lag_below(self, threshold: Duration) -> LagBelow<Self>
    where
        Self: Sized,
    {
        LagBelow::new(self, threshold)
    }

    /// Lets samples through once the lag has stayed above `threshold` for `for_at_least`.
    ///
    /// Answers: is this more than a hiccup? The time starts with the first sample above `threshold`. A
    /// sample that is not above it resets the time.
    ///
    /// ```text
    /// at      0    10    20    30    40    50    60    70
    /// in     60    61    62    63     0    64    65    66
    ///                     |     |                       |
    /// out                62    63                      66      lag_sustained(50, 20 ms)
    /// ```
    ///
    /// Missed samples do not reset the time, as their lag is unknown. A stall is one sample, however
    /// long it lasts. Its sample starts the time, and its own duration does not count towards
    /// `for_at_least`. With a `for_at_least` of zero this is [`lag_above`](Self::lag_above).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::SampleStreamExt;
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = loopmon::create(ms(10), ())?;
    /// let mut overloaded = monitor.subscribe().lag_sustained(ms(50), ms(300));
    ///
    /// for jump in [110, 10, 111, 112, 113, 114] {
    ///     tokio::task::yield_now().await;
    ///     tokio::time::advance(ms(jump)).await; // the lag is 10 ms less
    /// }
    /// // The second lag was zero. The last came 339 ms after the third.
    /// assert_eq!(overloaded.next().await.unwrap().lag, ms(104));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 25 ns per sample, no memory.
    fn lag_sustained(self, threshold: Duration, for_at_least: Duration) -> LagSustained<Self>
    where
        Self: Sized,
    {
        LagSustained::new(self, threshold, for_at_least)
    }

    /// Replaces each lag by the mean of the newest `window` lags.
    ///
    /// Answers: how long is the lag on average? Each sample comes out with the mean as its lag, rounded
    /// down to a nanosecond; its other fields do not change.
    ///
    /// ```text
    /// in     30    10    80     0    40
    ///         |     |     |     |     |
    /// out    30    20    45    40    20      moving_average(2)
    /// ```
    ///
    /// Until there are `window` samples, it is the mean of all samples so far: a reader has a figure at
    /// once, and a following alert works from the start.
    ///
    /// The window counts samples, not time. During a stall there are no samples, so a long stall weighs
    /// no more than its one sample. [`ewma`](Self::ewma) weighs by time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::time::Duration;
    /// use loopmon::SampleStreamExt;
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = loopmon::create(ms(10), ())?;
    /// let window = NonZeroUsize::new(4).unwrap();
    /// let mut average = monitor.subscribe().moving_average(window);
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(ms(90)).await; // a stall, with a lag of 80 ms
    /// for expected in [80, 40, 26, 20, 0] {
    ///     let sample = average.next().await.unwrap();
    ///     assert_eq!(sample.lag.as_millis(), expected);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 10 ns per sample, whatever the window. The memory is 16 bytes for each sample of the window,
    /// plus room to grow. The sum is exact and does not drift.
    fn moving_average(self, window: NonZeroUsize) -> MovingAverage<Self>
    where
        Self: Sized,
    {
        MovingAverage::new(self, window)
    }

    /// Replaces each lag by an average over time, in which the weight of the past halves with every
    /// `half_life`.
    ///
    /// Answers: what is the trend? Each sample comes out with the average as its lag; its other fields do
    /// not change. The average starts with the first sample.
    ///
    /// A sample weighs by the time since the sample before it. After a stall of a second, its one sample
    /// has the weight of a second. The average decays by the time that has passed, not by the number of
    /// samples:
    ///
    /// ```text
    /// at      0       1,000   2,000           4,000
    /// in   1000           0       0               0
    ///         |           |       |               |
    /// out  1000         500     250              62      ewma(1 s)
    /// ```
    ///
    /// # Formula
    ///
    /// `average = kept × average + (1 − kept) × lag`, where `kept = 2^(−elapsed / half_life)`. It
    /// is the exponential moving average with "next point" interpolation of A. Eckner, *Algorithms
    /// for Unevenly Spaced Time Series: Moving Averages and Other Rolling Operators*, with `τ =
    /// half_life / ln 2`.
    ///
    /// A sample with no time since the one before has no weight. With a half-life of zero the lags do not
    /// change. The average never leaves the range of the lags so far.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::SampleStreamExt;
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = loopmon::create(ms(10), ())?;
    /// let mut average = monitor.subscribe().ewma(ms(20));
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(ms(90)).await; // a stall, with a lag of 80 ms
    /// for expected in [80, 56, 40, 28, 20] {
    ///     let sample = average.next().await.unwrap();
    ///     assert_eq!(sample.lag.as_millis(), expected);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 50 ns per sample. The memory is one number, whatever the half-life.
    fn ewma(self, half_life: Duration) -> Ewma<Self>
    where
        Self: Sized,
    {
        Ewma::new(self, half_life)
    }

    /// Replaces each lag by the longest of the newest `window` lags.
    ///
    /// Answers: how long was the lag recently, at worst? Each sample comes out with the maximum as its lag;
    /// its other fields do not change. Until there are `window` samples, it is the maximum of all samples
    /// so far.
    ///
    /// ```text
    /// in     30    10    80     0    40
    ///         |     |     |     |     |
    /// out    30    30    80    80    40      moving_max(2)
    /// ```
    ///
    /// A display that is refreshed every second shows a stall between two refreshes only if it shows the
    /// maximum over that second.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::time::Duration;
    /// use loopmon::SampleStreamExt;
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = loopmon::create(ms(10), ())?;
    /// let mut worst = monitor.subscribe().moving_max(NonZeroUsize::new(3).unwrap());
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(ms(90)).await; // a stall, with a lag of 80 ms
    /// for expected in [80, 80, 80, 0] {
    ///     assert_eq!(worst.next().await.unwrap().lag, ms(expected));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 20 ns per sample on average, whatever the window. The memory is 24 bytes for each sample that
    /// can still become the maximum: all of the window if each lag is shorter than the one before.
    fn moving_max(self, window: NonZeroUsize) -> MovingMax<Self>
    where
        Self: Sized,
    {
        MovingMax::new(self, window)
    }

    /// Replaces each lag by a percentile of the newest `window` lags.
    ///
    /// Answers: how long is the lag, apart from the worst moments? Each sample comes out with the percentile
    /// as its lag; its other fields do not change. Until there are `window` samples, it is the percentile of
    /// all samples so far. It is exact, by [nearest rank](Percentile), and so always one of the lags.
    ///
    /// ```text
    /// in     30    10    80     0    40
    ///         |     |     |     |     |
    /// out    30    10    30    10    40      moving_percentile(3, P50)
    /// ```
    ///
    /// All samples count the same, so this is a percentile of samples, not of time: a stall of a second is
    /// one sample of many. [`summarize`] corrects for that and shows how long a task would have waited.
    ///
    #[cfg_attr(feature = "histogram", doc = "[`summarize`]: Self::summarize")]
    #[cfg_attr(not(feature = "histogram"), doc = "[`summarize`]: crate#features")]
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::time::Duration;
    /// use loopmon::{Percentile, SampleStreamExt};
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = loopmon::create(ms(10), ())?;
    /// let last_minute = NonZeroUsize::new(6_000).unwrap();
    /// let mut median = monitor.subscribe().moving_percentile(last_minute, Percentile::P50);
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(ms(90)).await; // a stall, with a lag of 80 ms
    /// assert_eq!(median.next().await.unwrap().lag, ms(80));
    /// assert_eq!(median.next().await.unwrap().lag, ms(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// The time is logarithmic in the window: some 30 ns per sample at 10, 40 ns at 1,000, 50 ns at
    /// 100,000. The memory is 40 bytes for each sample of the window, plus room to grow.
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

    /// Reports when the lag becomes too long, and when it is healthy again.
    ///
    /// Answers: must somebody act, and is it over? A lag of `raise_at` or more raises the [`Alert`], and a
    /// lag of `clear_at` or less clears it. It starts cleared. `Raised` and `Cleared` alternate, with no
    /// items between them.
    ///
    /// ```text
    /// in      0    60    70    30    60    10     0    80
    ///               |                       |           |
    /// out         Raised                 Cleared     Raised      Hysteresis::new(50, 20)
    /// ```
    ///
    /// Equal thresholds do not flap: a lag that raises the alert never clears it. To alert on more than one
    /// long sample, put [`ewma`](Self::ewma) before this adapter. [`lag_sustained`](Self::lag_sustained) also
    /// works, but it drops short lags, so the alert is never cleared.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::{Alert, Hysteresis, SampleStreamExt};
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = loopmon::create(ms(10), ())?;
    /// let thresholds = Hysteresis::new(ms(50), ms(20))?;
    /// let mut alerts = monitor.subscribe().lag_alerts(thresholds);
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(ms(90)).await; // a stall, with a lag of 80 ms
    ///
    /// assert!(matches!(alerts.next().await, Some(Alert::Raised(sample)) if sample.lag == ms(80)));
    /// assert!(matches!(alerts.next().await, Some(Alert::Cleared(sample)) if sample.lag == ms(0)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Two comparisons per sample, no memory.
    fn lag_alerts(self, thresholds: Hysteresis) -> LagAlerts<Self>
    where
        Self: Sized,
    {
        LagAlerts::new(self, thresholds)
    }

    /// Summarizes the lag of each period: count, mean, percentiles, maximum.
    ///
    /// Answers: how long did tasks wait, usually and at worst? A [`LagSummary`] has the figures of the
    /// samples in its window, corrected as described below.
    ///
    /// ```text
    /// at      0   300   600   900 | 1,200  1,500     | 4,000  4,300
    /// in      1     2     0     1 |    50      1     |     2      0
    ///                             |                  |                 (end)
    /// out                      4 samples,         2 samples,        2 samples,    summarize(1 s)
    ///                          max 2              max 50            max 2
    /// ```
    ///
    /// # Windows
    ///
    /// The first window starts with the first sample, and each window lasts for `every`, by the samples'
    /// [time](self#time). The first sample after a window produces its summary, so a summary is as late as
    /// that sample. The end of the stream produces the last summary. A window without samples has no
    /// summary, so a long gap does not cause a flood of empty ones; `first_at` and `last_at` show the time
    /// that a summary covers. If `every` is zero, each sample is a window.
    ///
    /// # Correction
    ///
    /// A stall also blocks the sampler. A second in which nothing runs produces one sample, and so do ten
    /// healthy milliseconds. If both count the same, the stall disappears: among 900 samples at an interval
    /// of 10 ms, one lag of a second does not change the 99th percentile, although a request arriving at a
    /// random moment of those ten seconds had a 10 % chance of hitting it. This is *coordinated omission*.
    /// Gil Tene, who named it, corrects it in his HdrHistogram by an expected interval: a lag of a second
    /// also counts as the samples that would have been taken during it, with lags of 990 ms, 980 ms, and so
    /// on down to 10 ms. This adapter does the same:
    ///
    /// ```text
    /// in           0     0     0  . . . . . . . . . . .  1000     0     0
    /// counted      0     0     0   10 20 30 … 980 990    1000     0     0
    /// ```
    ///
    /// The adapter learns the interval from the samples. A sampler waits for the interval and is late by the
    /// lag, so the time between two samples is the sum of both; the median of the last 31 differences is the
    /// interval. The second sample is the first that shows the interval, which then also applies to the first
    /// sample. Filtered or averaged samples do not show it: summarize before filtering, or set
    /// [`expected_interval`](Summarize::expected_interval). [`uncorrected`](Summarize::uncorrected) turns the
    /// correction off.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::{Monitor, SampleStreamExt};
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), loopmon::Error> {
    /// let ms = Duration::from_millis;
    /// let monitor = Monitor::builder().interval(ms(10)).capacity(2_000).install()?;
    /// let mut corrected = monitor.subscribe().summarize(ms(10_000));
    /// let mut uncorrected = monitor.subscribe().summarize(ms(10_000)).uncorrected();
    ///
    /// tokio::time::sleep(ms(5_005)).await;
    /// tokio::time::advance(ms(1_005)).await; // a stall, with a lag of 1 s
    ///
    /// let summary = corrected.next().await.unwrap();
    /// assert_eq!((summary.p50, summary.max), (ms(0), ms(1_000)));
    /// assert!(summary.p99 > ms(900));
    ///
    /// let plain = uncorrected.next().await.unwrap();
    /// assert_eq!((plain.p50, plain.max), (ms(0), ms(1_000)));
    /// assert_eq!(plain.p99, ms(0)); // the stall does not show
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 50 ns per sample and 8 µs per summary. The memory is about 200 kB, whatever the window.
    ///
    /// Percentiles differ from the exact ones by at most a thousandth or a quarter of a microsecond, and are
    /// never outside of `min` and `max`. In percentiles and in the correction, lags of more than an hour
    /// count as an hour. Count, missed, min, mean and max are exact.
    #[cfg(feature = "histogram")]
    fn summarize(self, every: Duration) -> Summarize<Self>
    where
        Self: Sized,
    {
        Summarize::new(self, every)
    }
}

impl<St: Stream<Item = Sample> + ?Sized> SampleStreamExt for St {}
