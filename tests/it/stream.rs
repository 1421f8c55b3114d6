//! The adapters: what comes out when given samples go in.

mod alerts;
mod filters;
mod laws;
mod live;
mod memory;
mod missed;
mod polling;
mod smoothing;
#[cfg(feature = "histogram")]
mod summaries;

use std::fmt;
use std::num::NonZeroUsize;
use std::pin::Pin;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::FusedStream;
use futures::{FutureExt, Stream, StreamExt};
use loopmon::{Alert, Hysteresis, Percentile, Sample, SampleStreamExt};

use crate::support::millis as ms;

fn window(samples: usize) -> NonZeroUsize {
    NonZeroUsize::new(samples).unwrap()
}

/// Returns the time so many milliseconds after the start of a test.
fn at(millis: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
}

/// Returns samples with these lags in milliseconds, one every 10 ms.
fn samples(lags: impl IntoIterator<Item = u64>) -> Vec<Sample> {
    (0..)
        .zip(lags)
        .map(|(index, lag)| Sample::new(ms(lag), 0, at(10 * index)))
        .collect()
}

/// Returns all items of a stream that never waits.
fn collect<St: Stream>(stream: St) -> Vec<St::Item> {
    stream.collect().now_or_never().expect("it never waits")
}

/// Returns the lags of a stream in milliseconds.
fn lags(stream: impl Stream<Item = Sample>) -> Vec<u128> {
    collect(stream.map(|sample| sample.lag.as_millis()))
}

type Boxed = Pin<Box<dyn FusedStream<Item = Sample>>>;

/// Returns every adapter, each on a source of its own. Items that are no samples are turned into samples.
///
/// Thresholds are 50 ms, windows are 3 samples or 50 ms.
fn every_adapter<St>(mut source: impl FnMut() -> St) -> Vec<(&'static str, Boxed)>
where
    St: Stream<Item = Sample> + fmt::Debug + 'static,
{
    let sample_of = |alert| match alert {
        Alert::Raised(sample) | Alert::Cleared(sample) => sample,
    };
    let thresholds = Hysteresis::new(ms(50), ms(50)).unwrap();
    vec![
        ("lag_above", Box::pin(source().lag_above(ms(50))) as Boxed),
        ("lag_below", Box::pin(source().lag_below(ms(50)))),
        (
            "lag_sustained",
            Box::pin(source().lag_sustained(ms(50), ms(20))),
        ),
        (
            "moving_average",
            Box::pin(source().moving_average(window(3))),
        ),
        ("ewma", Box::pin(source().ewma(ms(50)))),
        ("moving_max", Box::pin(source().moving_max(window(3)))),
        (
            "moving_percentile",
            Box::pin(source().moving_percentile(window(3), Percentile::P50)),
        ),
        (
            "lag_alerts",
            Box::pin(source().lag_alerts(thresholds).map(sample_of)),
        ),
        #[cfg(feature = "histogram")]
        (
            "summarize",
            Box::pin(source().summarize(ms(50)).map(summaries::as_sample)),
        ),
    ]
}
