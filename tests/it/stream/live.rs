//! Adapters on the samples of a monitor, on the paused clock.

use chrono::TimeDelta;
use futures::stream::{StreamExt, iter};
use loopmon::{Alert, Hysteresis, Sample, SampleStreamExt};
use tokio::time::advance;

use super::{collect, every_adapter, ms};
use crate::support::{monitor, settle};

/// What a monitor at 10 ms tells of these jumps of the clock, in milliseconds.
async fn sampled(jumps: impl IntoIterator<Item = u64>) -> Vec<Sample> {
    let monitor = monitor(ms(10));
    let samples = monitor.subscribe();
    for jump in jumps {
        settle().await;
        advance(ms(jump)).await;
    }
    settle().await;
    monitor.stop();
    samples.collect().await
}

#[tokio::test(start_paused = true)]
async fn time_is_virtual_where_the_clock_is() {
    // A lag of 80 ms, then one of none every 10 ms.
    let samples = sampled([90].into_iter().chain([10; 9])).await;
    let average = collect(iter(samples.clone()).ewma(ms(30)));
    let halved: Vec<_> = average.iter().step_by(3).map(|sample| sample.lag).collect();
    assert_eq!(halved, [ms(80), ms(40), ms(20), ms(10)]);
    let sustained = collect(iter(average).lag_sustained(ms(15), ms(60)));
    assert_eq!(sustained.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn setting_the_wall_clock_changes_nothing() {
    let samples = sampled((0..40).map(|step| if step % 9 < 5 { 70 } else { 10 })).await;
    assert_eq!(samples.len(), 40);
    let mut set = samples.clone();
    for (index, sample) in set.iter_mut().enumerate() {
        let hours = [0, 5, -20, 400][index % 4];
        sample.data_at += TimeDelta::hours(hours);
    }
    let expected = every_adapter(|| iter(samples.clone()));
    for ((name, before), (_, after)) in expected
        .into_iter()
        .zip(every_adapter(|| iter(set.clone())))
    {
        let lags = |stream| -> Vec<_> {
            collect(stream)
                .iter()
                .map(|sample: &Sample| sample.lag)
                .collect()
        };
        let expected = lags(before);
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(lags(after), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_of_a_stall_once_and_of_its_end() {
    let monitor = monitor(ms(10));
    let thresholds = Hysteresis::new(ms(100), ms(20)).unwrap();
    let mut alerts = monitor.subscribe().ewma(ms(500)).lag_alerts(thresholds);
    tokio::time::sleep(ms(95)).await;
    advance(ms(1_000)).await;
    let Some(Alert::Raised(raised)) = alerts.next().await else {
        panic!("no alert");
    };
    let Some(Alert::Cleared(cleared)) = alerts.next().await else {
        panic!("not cleared");
    };
    assert!(raised.lag > ms(500), "{raised}");
    assert!(cleared.lag <= ms(20), "{cleared}");
}

#[cfg(feature = "histogram")]
#[tokio::test(start_paused = true)]
async fn the_interval_of_a_monitor_is_learnt() {
    let jumps = (0..200).map(|step| if step == 100 { 1_010 } else { 10 + step % 3 });
    let samples = sampled(jumps).await;
    let every = ms(60_000);
    let learnt = collect(iter(samples.clone()).summarize(every));
    let given = collect(
        iter(samples.clone())
            .summarize(every)
            .expected_interval(ms(10)),
    );
    assert_eq!(learnt, given);
    assert_ne!(
        learnt,
        collect(iter(samples).summarize(every).uncorrected())
    );
}
