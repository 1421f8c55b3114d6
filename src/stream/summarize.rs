//! The adapter that summarizes the lag, window by window. The arithmetic is in `stats`.

mod interval;

use std::time::Duration;

use futures::Stream;

use crate::sample::Sample;
use crate::stats::{LagHistogram, from_nanos};

use super::adapter::{Rule, SizeHint, adapter};
use super::elapsed::Elapsed;
use super::lag_summary::LagSummary;
use interval::Interval;

adapter! {
    /// The stream of [`summarize`](super::SampleStreamExt::summarize).
    Summarize(every: Duration): Windows => LagSummary {
        Windows {
            every,
            elapsed: Elapsed::default(),
            into: Duration::ZERO,
            interval: Interval::learnt(),
            lags: LagHistogram::new(),
            window: None,
            uncorrected: None,
        }
    }
}

impl<St: Stream> Summarize<St> {
    /// Corrects by `interval` instead of the one learnt from the samples.
    ///
    /// Use it for samples that do not come as a sampler takes them: filtered, averaged, or read from a file.
    /// An interval of zero turns the correction off. A shorter one than a microsecond counts as a
    /// microsecond.
    pub fn expected_interval(mut self, interval: Duration) -> Summarize<St> {
        self.adapter.rule.interval = Interval::Given(interval);
        self
    }

    /// Counts each sample once, without the correction.
    ///
    /// A stall then weighs no more than any other sample;
    /// [`summarize`](super::SampleStreamExt::summarize) explains what that hides.
    pub fn uncorrected(self) -> Summarize<St> {
        self.expected_interval(Duration::ZERO)
    }
}

#[derive(Debug)]
struct Windows {
    every: Duration,
    elapsed: Elapsed,
    /// Measures the time from the start of the window to the newest sample.
    into: Duration,
    interval: Interval,
    /// Counts the lags of the window.
    lags: LagHistogram,
    /// Summarizes the samples of the window, but for their lags.
    window: Option<LagSummary>,
    /// Keeps the longest lag of the window from before the interval was known. Usually that is the
    /// first sample's lag, as the second sample shows the interval.
    uncorrected: Option<Duration>,
}

impl Windows {
    /// Returns whether a sample `elapsed` after the last one begins another window.
    fn leave(&mut self, elapsed: Duration) -> bool {
        self.into = self.into.saturating_add(elapsed);
        let leaves = self.into >= self.every;
        if leaves {
            // Windows without samples count, too, so that all windows stay in step.
            let over = self.into.as_nanos().checked_rem(self.every.as_nanos());
            self.into = over.map_or(Duration::ZERO, from_nanos);
        }
        leaves
    }

    fn add(&mut self, sample: &Sample) {
        self.lags.record(sample.lag);
        let at = sample.data_at;
        let window = self.window.get_or_insert(LagSummary::new(at, at, 0));
        window.last_at = at;
        window.count += 1;
        window.missed = window.missed.saturating_add(sample.missed);
    }

    fn close(&mut self) -> Option<LagSummary> {
        let window = self.window.take()?;
        let summary = LagSummary {
            min: self.lags.min(),
            mean: self.lags.mean(),
            p50: self.lags.quantile(0.5),
            p90: self.lags.quantile(0.9),
            p99: self.lags.quantile(0.99),
            p999: self.lags.quantile(0.999),
            max: self.lags.max(),
            ..window
        };
        self.lags.clear();
        self.uncorrected = None;
        Some(summary)
    }
}

impl Rule for Windows {
    type Item = LagSummary;

    fn push(&mut self, sample: Sample) -> Option<LagSummary> {
        let elapsed = self.elapsed.until(&sample);
        let interval = self.interval.after(elapsed, &sample);
        if let Some(interval) = interval {
            if let Some(lag) = self.uncorrected.take() {
                self.lags.record_omitted(lag, interval);
            }
        }
        let summary = self.leave(elapsed).then(|| self.close()).flatten();
        self.add(&sample);
        match interval {
            Some(interval) => self.lags.record_omitted(sample.lag, interval),
            None => self.uncorrected = self.uncorrected.max(Some(sample.lag)),
        }
        summary
    }

    fn finish(&mut self) -> Option<LagSummary> {
        self.close()
    }

    fn size_hint(&self, (lower, upper): SizeHint) -> SizeHint {
        let open = usize::from(self.window.is_some());
        (
            open.max(lower.min(1)),
            upper.and_then(|upper| upper.checked_add(open)),
        )
    }
}
