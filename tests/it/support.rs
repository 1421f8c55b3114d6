//! Runtimes, samplers and readers that several areas use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use loopmon::{Monitor, Sample, Sampler, Samples};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A `current_thread` runtime with its clock paused.
pub(crate) fn paused_runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// A sampler that measures when and what the test says.
pub(crate) struct Manual(mpsc::UnboundedReceiver<Duration>);

/// Controls a [`Manual`] sampler.
#[derive(Clone)]
pub(crate) struct Hand(mpsc::UnboundedSender<Duration>);

pub(crate) fn manual() -> (Hand, Manual) {
    let (hand, sampler) = mpsc::unbounded_channel();
    (Hand(hand), Manual(sampler))
}

impl Sampler for Manual {
    async fn measure(&mut self, _: Duration) -> Duration {
        match self.0.recv().await {
            Some(lag) => lag,
            None => std::future::pending().await,
        }
    }
}

impl Hand {
    /// Makes the monitor publish one sample. It must be on the current runtime, which must have one thread.
    pub(crate) async fn publish(&self, lag: Duration) {
        self.0.send(lag).unwrap();
        settle().await;
    }
}

/// Lets every task of a `current_thread` runtime that can run do so.
pub(crate) async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Returns what a reader has now.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    Sample { lag: Duration, missed: u64 },
    Nothing,
    End,
}

pub(crate) fn read(samples: &mut Samples) -> Read {
    match samples.next().now_or_never() {
        Some(Some(sample)) => Read::Sample {
            lag: sample.lag,
            missed: sample.missed,
        },
        Some(None) => Read::End,
        None => Read::Nothing,
    }
}

/// Returns a callback that keeps every sample, and the samples that it has kept.
pub(crate) fn recorder() -> (
    impl Fn(Sample) -> std::future::Ready<()> + Clone + Send + 'static,
    Recorded,
) {
    let recorded = Recorded::default();
    let record = recorded.clone();
    let callback = move |sample| {
        record.0.lock().unwrap().push_back(sample);
        std::future::ready(())
    };
    (callback, recorded)
}

#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<VecDeque<Sample>>>);

impl Recorded {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Returns a monitor of the current runtime at the given interval.
pub(crate) fn monitor(interval: Duration) -> Monitor {
    Monitor::builder().interval(interval).install().unwrap()
}
