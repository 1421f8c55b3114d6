//! Every lost sample is told once, on the next item.

use futures::stream::iter;
use loopmon::{Alert, Hysteresis, Sample, SampleStreamExt};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};

use super::{collect, every_adapter, ms, samples};

/// Lags in milliseconds, each with what was missed before it.
fn with_missed(given: &[(u64, u64)]) -> Vec<Sample> {
    let mut samples = samples(given.iter().map(|(lag, _)| *lag));
    for (sample, (_, missed)) in samples.iter_mut().zip(given) {
        sample.missed = *missed;
    }
    samples
}

#[test]
fn a_filter_tells_what_the_samples_it_drops_have_missed() {
    let source = iter(with_missed(&[(60, 1), (0, 2), (0, 4), (60, 8), (60, 16)]));
    let missed = collect(source.lag_above(ms(50)))
        .iter()
        .map(|sample| sample.missed)
        .collect::<Vec<_>>();
    assert_eq!(missed, [1, 2 + 4 + 8, 16]);
}

#[test]
fn an_alert_tells_what_was_missed_since_the_last() {
    let thresholds = Hysteresis::new(ms(50), ms(20)).unwrap();
    let source = iter(with_missed(&[(0, 1), (60, 2), (60, 4), (0, 8)]));
    let alerts = collect(source.lag_alerts(thresholds));
    let [Alert::Raised(raised), Alert::Cleared(cleared)] = alerts[..] else {
        panic!("{alerts:?}");
    };
    assert_eq!((raised.missed, cleared.missed), (1 + 2, 4 + 8));
}

#[test]
fn more_than_can_be_counted_is_told_as_the_most() {
    let source = iter(with_missed(&[(0, u64::MAX), (60, 1)]));
    assert_eq!(collect(source.lag_above(ms(50)))[0].missed, u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_adapter_tells_every_lost_sample_once(given in vec((0..100_u64, 0..1_000_u64), 0..50)) {
        // The last two make every adapter tell something: the one is above, the other below.
        let mut given = given;
        given.extend([(100, 0), (100, 0), (100, 0), (0, 0)]);
        let lost: u64 = given.iter().map(|(_, missed)| missed).sum();
        for (name, stream) in every_adapter(|| iter(with_missed(&given))) {
            let told: u64 = collect(stream).iter().map(|sample| sample.missed).sum();
            assert_eq!(told, lost, "{name}");
        }
    }
}
