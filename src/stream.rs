//! Adapters for streams of samples: filters, averages, percentiles, alerts and summaries.
//!
//! [`SampleStreamExt`] has them as methods, and says what each of them does. Here are their types,
//! and what they have in common. The [guide](crate::docs::combinators) tells which one to use for
//! what.
//!
//! # Chaining
//!
//! All but the last two give samples again, so they chain in any order that makes sense: an alert
//! on an average, a percentile of what a filter lets through. They work on every `Stream` of
//! samples, not only on [`Samples`](crate::Samples): on a merge of several, or on one of your own.
//!
//! # What was missed
//!
//! A reader that is too slow loses samples and is told so by [`Sample::missed`]. No adapter loses
//! that: each lost sample is counted in exactly one item that comes out, the next one. A filter
//! adds what the samples it drops have missed to the next that passes.
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
//! Where time counts, it is the time at which the samples were taken, not the time at which they
//! are read: a slow reader sees what a fast one sees. Samples of a monitor carry it from the
//! monotonic clock of Tokio, so setting the wall clock changes nothing, and on the paused clock of
//! tests it is virtual.
//!
//! Samples from elsewhere, made by [`Sample::new`] or read from a file, have only their
//! [`data_at`](Sample::data_at). Where that goes back, no time has passed, and time goes on from
//! there; where it jumps forward, that much time has passed.
//!
//! # The end
//!
//! An adapter ends with its source, never polls it again after that, and is a
//! [`FusedStream`](futures::stream::FusedStream).
//!
//! # Cost
//!
//! Nothing is allocated for a sample: windows grow as they fill, which allocates now and then, and
//! a window that is full allocates nothing. Every adapter takes less than 100 ns a sample at a
//! window of 1,000 on a common machine; `benches/README.md` in the repository has the numbers.

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
/// Bring it into scope and they are methods of [`Samples`](crate::Samples). The [module](self)
/// tells what they have in common: chaining, missed samples, time, the end, and cost.
///
/// In the pictures lags are in milliseconds.
pub trait SampleStreamExt: Stream<Item = Sample> {
    /// Lets through the samples whose lag is longer than `threshold`.
    ///
    /// Answers: when was a task kept waiting for longer than this? A lag of just `threshold` is not
    /// above it.
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
    /// tokio::time::sleep(Duration::from_millis(195)).await; // all is well
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
    /// One comparison a sample, no memory.
    fn lag_above(self, threshold: Duration) -> LagAbove<Self>
    where
        Self: Sized,
    {
        LagAbove::new(self, threshold)
    }

    /// Lets through the samples whose lag is shorter than `threshold`.
    ///
    /// Answers: when is the runtime well? For work that should wait until it is. A lag of just
    /// `threshold` is not below it.
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
    /// let mut well = monitor.subscribe().lag_below(Duration::from_millis(5));
    ///
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(Duration::from_millis(100)).await; // a stall
    ///
    /// // The sample after the stall is the first that passes.
    /// assert_eq!(well.next().await.unwrap().lag, Duration::ZERO);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// One comparison a sample, no memory.
    fn lag_below(self, threshold: Duration) -> LagBelow<Self>
    where
        Self: Sized,
    {
        LagBelow::new(self, threshold)
    }

    /// Lets samples through once the lag has stayed above `threshold` for at least that long.
    ///
    /// Answers: is this more than a hiccup? The time runs from the first sample above `threshold`
    /// and ends with the first that is not. Then it starts anew.
    ///
    /// ```text
    /// at      0    10    20    30    40    50    60    70
    /// in     60    61    62    63     0    64    65    66
    ///                     |     |                       |
    /// out                62    63                      66      lag_sustained(50, 20 ms)
    /// ```
    ///
    /// Samples that were missed do not end it: nothing is known of their lag, and the time goes on.
    /// A single long stall is one sample, however long, and starts the time: it does not count as
    /// its own duration. `for_at_least` zero is [`lag_above`](Self::lag_above).
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
    ///     tokio::time::advance(ms(jump)).await; // a lag of 10 ms less
    /// }
    /// // All was well after the first. The last came 339 ms after the second.
    /// assert_eq!(overloaded.next().await.unwrap().lag, ms(104));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 20 ns a sample, no memory.
    fn lag_sustained(self, threshold: Duration, for_at_least: Duration) -> LagSustained<Self>
    where
        Self: Sized,
    {
        LagSustained::new(self, threshold, for_at_least)
    }

    /// The mean lag of the newest `window` samples, with each sample.
    ///
    /// Answers: how is it going, one thing with another? Each sample comes out with the mean in the
    /// place of its lag, rounded down to a nanosecond; its other fields are its own.
    ///
    /// ```text
    /// in     30    10    80     0    40
    ///         |     |     |     |     |
    /// out    30    20    45    40    20      moving_average(2)
    /// ```
    ///
    /// Until there are `window` samples, it is the mean of those there are: a reader has a figure
    /// at once, and an alert behind it is not deaf at the start.
    ///
    /// It counts samples, not time: during a stall there are none, so a long one weighs no more
    /// than its one sample. [`ewma`](Self::ewma) goes by time.
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
    /// Some 10 ns a sample for every window. 16 bytes for each sample of the window, and room to
    /// grow. The sum is exact, it does not drift.
    fn moving_average(self, window: NonZeroUsize) -> MovingAverage<Self>
    where
        Self: Sized,
    {
        MovingAverage::new(self, window)
    }

    /// The average lag over time, of which half is forgotten with every `half_life`.
    ///
    /// Answers: how is it going lately? Each sample comes out with the average in the place of its
    /// lag; its other fields are its own. The average starts with the first sample.
    ///
    /// Samples weigh by the time that they stand for, which is the time since the one before. After
    /// a stall of a second, its one sample has the weight of a second, and the average decays by
    /// the time that has passed, not by how many samples came:
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
    /// A sample that no time has passed for has no weight. With a half-life of zero nothing is
    /// kept: what comes out is the sample. The average is never outside of the lags it is made of.
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
    /// Some 50 ns a sample. It keeps one number, whatever the half-life.
    fn ewma(self, half_life: Duration) -> Ewma<Self>
    where
        Self: Sized,
    {
        Ewma::new(self, half_life)
    }

    /// The longest lag of the newest `window` samples, with each sample.
    ///
    /// Answers: how bad was it lately? Each sample comes out with the maximum in the place of its
    /// lag; its other fields are its own. Until there are `window` samples, it is the maximum of
    /// those there are.
    ///
    /// ```text
    /// in     30    10    80     0    40
    ///         |     |     |     |     |
    /// out    30    30    80    80    40      moving_max(2)
    /// ```
    ///
    /// A display that is refreshed every second shows no stall between two refreshes, unless it
    /// shows the maximum over a second.
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
    /// Some 20 ns a sample on average for every window. Up to 24 bytes for each sample of the
    /// window: as many as come one after the other with ever shorter lags.
    fn moving_max(self, window: NonZeroUsize) -> MovingMax<Self>
    where
        Self: Sized,
    {
        MovingMax::new(self, window)
    }

    /// A percentile of the newest `window` lags, with each sample.
    ///
    /// Answers: how bad is it, the worst moments left aside? Each sample comes out with the
    /// percentile in the place of its lag; its other fields are its own. Until there are `window`
    /// samples, it is the percentile of those there are. It is exact and by [nearest
    /// rank](Percentile), so always one of the lags.
    ///
    /// ```text
    /// in     30    10    80     0    40
    ///         |     |     |     |     |
    /// out    30    10    30    10    40      moving_percentile(3, P50)
    /// ```
    ///
    /// Samples count alike, so this is a percentile of samples, not of time: a stall of a second is
    /// one sample of many. What a task would have waited is told by [`summarize`], which corrects
    /// for that.
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
    /// Logarithmic in the window: some 30 ns a sample at 10, 40 ns at 1,000, 50 ns at 100,000. 40
    /// bytes for each sample of the window, and room to grow.
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

    /// Tells when the lag becomes too long, and when it is well again.
    ///
    /// Answers: do I have to act, and may I stop? An [`Alert`] is raised by a lag of `raise_at` or
    /// more and cleared by one of `clear_at` or less. It starts cleared. Between `Raised` and
    /// `Cleared`, always in turns, nothing comes.
    ///
    /// ```text
    /// in      0    60    70    30    60    10     0    80
    ///               |                       |           |
    /// out         Raised                 Cleared     Raised      Hysteresis::new(50, 20)
    /// ```
    ///
    /// Equal thresholds do not flap: a lag that raises the alert never clears it. To alert on more
    /// than one long sample put [`ewma`](Self::ewma) or [`lag_sustained`](Self::lag_sustained)
    /// before it; but the latter lets no short lags through, so what it raised is never cleared.
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
    /// Two comparisons a sample, no memory.
    fn lag_alerts(self, thresholds: Hysteresis) -> LagAlerts<Self>
    where
        Self: Sized,
    {
        LagAlerts::new(self, thresholds)
    }

    /// Sums up the lag of each stretch of time: count, mean, percentiles, maximum.
    ///
    /// Answers: what did a task have to wait, usually and at worst? The figures of a [`LagSummary`]
    /// are those of its samples, corrected as told below.
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
    /// The first window starts with the first sample, and each lasts for `every`, by the samples'
    /// [time](self#time). A summary comes with the first sample after its window, so it is late by
    /// as much as that sample; what the last window has comes at the end of the stream. A window
    /// without samples gives no summary: `first_at` and `last_at` tell what time a summary is of,
    /// and after a long gap there is no flood of empty ones. If `every` is zero each sample is a
    /// window.
    ///
    /// # Correction
    ///
    /// A stall holds up the sampler as well. A second in which nothing runs gives one sample; ten
    /// healthy milliseconds give one too. Counted alike, a stall would drown among them: of 900
    /// samples at an interval of 10 ms, one of a second is not even in the 99th percentile, though
    /// who came at some moment of those ten seconds waited with a probability of a tenth. This is
    /// *coordinated omission*. Gil Tene, who named it, corrects it in his HdrHistogram by the
    /// expected interval: a lag of a second counts as the samples that would have been taken in it
    /// as well, with 990 ms, 980 ms, and so on down to 10 ms. So does this adapter:
    ///
    /// ```text
    /// in           0     0     0  . . . . . . . . . . .  1000     0     0
    /// counted      0     0     0   10 20 30 … 980 990    1000     0     0
    /// ```
    ///
    /// The interval is learnt from the samples: a sampler waits for the interval and is late by the
    /// lag, so from one to the next passes both, and the median of the last 31 differences is the
    /// interval. Known with the second sample, it is applied to the first in hindsight. Samples
    /// that were filtered or averaged before do not show it: sum up before you filter, or give
    /// [`expected_interval`](Summarize::expected_interval). For the plain figures of the samples
    /// there is [`uncorrected`](Summarize::uncorrected).
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
    /// assert_eq!(plain.p99, ms(0)); // what the stall was to a hundredth of all tasks is lost
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// Some 50 ns a sample, and 8 µs a summary. About 200 kB, whatever the window. Percentiles are
    /// within a thousandth of the exact ones, or a quarter of a microsecond, and never outside of
    /// `min` and `max`; lags of more than an hour count as an hour in them. Count, missed, min,
    /// mean and max are exact.
    #[cfg(feature = "histogram")]
    fn summarize(self, every: Duration) -> Summarize<Self>
    where
        Self: Sized,
    {
        Summarize::new(self, every)
    }
}

impl<St: Stream<Item = Sample> + ?Sized> SampleStreamExt for St {}
