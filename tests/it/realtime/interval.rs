//! The interval that `summarize` learns from real samples.

use std::thread;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use loopmon::{LagSummary, Sample, SampleStreamExt};
use tokio::runtime::Builder;

use crate::support::{millis, monitor};

const INTERVAL: Duration = Duration::from_millis(10);

/// Half a second of samples, and a block of as long in the middle.
fn samples() -> Vec<Sample> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let monitor = monitor(INTERVAL);
        let samples = monitor.subscribe();
        tokio::time::sleep(millis(250)).await;
        thread::sleep(millis(500));
        tokio::time::sleep(millis(250)).await;
        monitor.stop();
        samples.collect().await
    })
}

fn summary(summaries: impl stream::Stream<Item = LagSummary>) -> LagSummary {
    let mut summaries: Vec<_> = futures::executor::block_on(summaries.collect());
    summaries.remove(0)
}

#[test]
fn the_interval_is_learnt_from_what_the_sampler_takes() {
    let samples = samples();
    let every = Duration::from_secs(60);
    let source = || stream::iter(samples.clone());
    let learnt = summary(source().summarize(every));
    let given = summary(source().summarize(every).expected_interval(INTERVAL));
    let plain = summary(source().summarize(every).uncorrected());
    // Twice the interval would make it 350 ms and not 400, half of it 420 ms.
    let off = learnt.p90.abs_diff(given.p90);
    assert!(off < given.p90 / 40, "{learnt} but\n{given}");
    assert!(given.p90 > plain.p90 * 2, "{given} but\n{plain}");
}
