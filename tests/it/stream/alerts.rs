//! `lag_alerts`.

use std::time::Duration;

use futures::stream::iter;
use loopmon::{Alert, Hysteresis, Sample, SampleStreamExt};

use super::{at, collect, ms, samples};

/// `+60` for an alert raised at 60 ms, `-10` for one cleared at 10 ms.
fn alerts(lags: &[u64], raise_at: u64, clear_at: u64) -> Vec<String> {
    let thresholds = Hysteresis::new(ms(raise_at), ms(clear_at)).unwrap();
    let alerts = iter(samples(lags.iter().copied())).lag_alerts(thresholds);
    collect(alerts)
        .into_iter()
        .map(|alert| match alert {
            Alert::Raised(sample) => format!("+{}", sample.lag.as_millis()),
            Alert::Cleared(sample) => format!("-{}", sample.lag.as_millis()),
        })
        .collect()
}

#[test]
fn one_raised_then_one_cleared() {
    let lags = [0, 60, 70, 30, 60, 10, 0, 30, 80];
    assert_eq!(alerts(&lags, 50, 20), ["+60", "-10", "+80"]);
}

#[test]
fn it_starts_cleared() {
    assert_eq!(alerts(&[0, 0], 50, 20), [""; 0]);
    assert_eq!(alerts(&[60], 50, 20), ["+60"]);
}

#[test]
fn the_thresholds_themselves_count() {
    assert_eq!(alerts(&[50, 21, 20], 50, 20), ["+50", "-20"]);
}

#[test]
fn equal_thresholds_do_not_flap() {
    assert_eq!(alerts(&[50, 50, 50, 49, 50], 50, 50), ["+50", "-49", "+50"]);
    assert_eq!(alerts(&[0, 0, 1], 0, 0), ["+0"]);
}

#[test]
fn a_clear_threshold_of_zero_can_be_reached() {
    assert_eq!(alerts(&[50, 1, 0], 50, 0), ["+50", "-0"]);
}

#[test]
fn inverted_thresholds_are_an_error() {
    let error = Hysteresis::new(ms(10), ms(20)).unwrap_err();
    assert!(error.is_inverted_thresholds());
    assert!(Hysteresis::new(Duration::ZERO, Duration::MAX).is_err());
    assert!(Hysteresis::new(Duration::MAX, Duration::MAX).is_ok());
}

#[test]
fn chained_it_alerts_on_the_average() {
    let calm = (0..100).map(|index| Sample::new(ms(0), 0, at(10 * index)));
    let one_stall = Sample::new(Duration::from_secs(1), 0, at(2_000));
    let later = (0..500).map(|index| Sample::new(ms(0), 0, at(2_010 + 10 * index)));
    let source = iter(calm.chain([one_stall]).chain(later));

    let thresholds = Hysteresis::new(ms(400), ms(100)).unwrap();
    let alerts = collect(source.ewma(Duration::from_secs(1)).lag_alerts(thresholds));
    // The stall stands for 1.01 s, which makes the average 503 ms.
    let [Alert::Raised(raised), Alert::Cleared(cleared)] = alerts[..] else {
        panic!("{alerts:?}");
    };
    assert_eq!(raised.data_at, at(2_000));
    assert_eq!(raised.lag.as_millis(), 503);
    // log2(503 / 100) half-lives later.
    assert_eq!(cleared.data_at, at(4_340));
}
