//! `summarize`.

use std::time::Duration;

use futures::stream::iter;
use loopmon::{LagSummary, Sample, SampleStreamExt};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

use super::{at, collect, ms, samples};

const SECOND: Duration = Duration::from_secs(1);

/// For the laws that all adapters share.
pub(super) fn as_sample(summary: LagSummary) -> Sample {
    let mut sample = Sample::new(summary.max, summary.count as usize, summary.last_at);
    sample.missed = summary.missed;
    sample
}

/// Samples as a sampler takes them: each the interval and its lag after the one before.
fn sampled(interval_ms: i64, lags: impl IntoIterator<Item = u64>) -> Vec<Sample> {
    let mut now = 0;
    lags.into_iter()
        .map(|lag| {
            now += interval_ms + lag as i64;
            Sample::new(ms(lag), 0, at(now))
        })
        .collect()
}

/// 900 samples without lag every 10 ms, and a stall of one second among them.
fn one_stall() -> Vec<Sample> {
    sampled(
        10,
        (0..900).map(|index| if index == 500 { 1_000 } else { 0 }),
    )
}

fn only(summaries: Vec<LagSummary>) -> LagSummary {
    let [summary] = summaries[..] else {
        panic!("{summaries:?}");
    };
    summary
}

/// Within the thousandth that the percentiles are good for.
#[track_caller]
fn assert_near(told: Duration, exact: Duration) {
    assert!(
        told.abs_diff(exact) <= exact / 1_000,
        "{told:?} and not {exact:?}"
    );
}

#[test]
fn without_correction_p99_hides_the_stall() {
    let every = 60 * SECOND;
    let hidden = only(collect(iter(one_stall()).summarize(every).uncorrected()));
    assert_eq!((hidden.count, hidden.p99, hidden.max), (900, ms(0), SECOND));

    let told = only(collect(iter(one_stall()).summarize(every)));
    assert_eq!((told.count, told.max), (900, SECOND));
    // Of the 9.99 s a task could have come in, it would have waited in one; in the worst
    // hundredth of them, 99.9 ms, at least 900 ms.
    assert_near(told.p99, ms(910));
    assert_near(told.p999, ms(1_000));
    assert_eq!(told.p50, ms(0));
    // 1000 + 990 + … + 10 over 999.
    assert_eq!(told.mean, Duration::from_nanos(50_500_000_000 / 999));
}

#[test]
fn the_interval_is_learnt_or_given() {
    let learnt = collect(iter(one_stall()).summarize(60 * SECOND));
    let given = collect(
        iter(one_stall())
            .summarize(60 * SECOND)
            .expected_interval(ms(10)),
    );
    assert_eq!(learnt, given);
}

#[test]
fn the_interval_is_learnt_from_late_and_lost_samples() {
    // A runtime that is busy all the time, and a reader that loses every other sample.
    let busy = sampled(
        10,
        (0..400).map(|index| if index == 200 { 1_000 } else { 4 }),
    );
    let read: Vec<_> = busy
        .chunks(2)
        .map(|pair| {
            let mut sample = pair[0];
            sample.missed = 1;
            sample
        })
        .collect();
    let learnt = collect(iter(read.clone()).summarize(60 * SECOND));
    // The lag of the lost ones is taken for a part of the interval: (10 + 4 + 10) / 2.
    let given = collect(iter(read).summarize(60 * SECOND).expected_interval(ms(12)));
    assert_eq!(learnt, given);
}

#[test]
fn a_stall_at_the_very_start_is_corrected_too() {
    let stall_first = sampled(10, [1_000, 0, 0]);
    let summary = only(collect(iter(stall_first).summarize(60 * SECOND)));
    // 100 values from 10 ms to 1 s, and two of zero.
    assert_near(summary.p50, ms(490));
    assert_eq!(summary.count, 3);
}

#[test]
fn lags_shorter_than_the_interval_are_counted_as_they_are() {
    let source = || iter(sampled(10, (0..100).map(|lag| lag % 10)));
    assert_eq!(
        collect(source().summarize(SECOND)),
        collect(source().summarize(SECOND).uncorrected()),
    );
}

#[test]
fn windows_follow_the_samples_time() {
    // Every 10 ms from 0 to 240 ms.
    let source = iter(samples(0..25));
    let summaries = collect(source.summarize(ms(100)).uncorrected());
    let told: Vec<_> = summaries
        .iter()
        .map(|summary| (summary.first_at, summary.last_at, summary.count))
        .collect();
    assert_eq!(
        told,
        [
            (at(0), at(90), 10),
            (at(100), at(190), 10),
            (at(200), at(240), 5)
        ],
    );
    let first = summaries[0];
    assert_eq!((first.min, first.max), (ms(0), ms(9)));
    assert_eq!(first.mean, Duration::from_micros(4_500));
    assert_near(first.p50, ms(4));
    assert_near(first.p90, ms(8));
    assert_eq!((first.p99, first.p999), (ms(9), ms(9)));
}

#[test]
fn a_window_without_samples_gives_no_summary_and_moves_no_other() {
    let source = iter([0, 50, 530, 590, 600].map(|now| Sample::new(ms(1), 0, at(now))));
    let told: Vec<_> = collect(source.summarize(ms(100)))
        .iter()
        .map(|summary| (summary.first_at, summary.count))
        .collect();
    // As if counted on from zero: 500 to 600 ms is one window.
    assert_eq!(told, [(at(0), 2), (at(530), 2), (at(600), 1)]);
}

#[test]
fn no_samples_no_summary() {
    assert_eq!(collect(iter([]).summarize(SECOND)), []);
}

#[test]
fn a_clock_set_back_holds_up_the_window_for_one_sample() {
    let source =
        iter([0, 10, -3_600_000, -3_599_990, -3_599_980].map(|now| Sample::new(ms(1), 0, at(now))));
    let counts: Vec<_> = collect(source.summarize(ms(20)))
        .iter()
        .map(|summary| summary.count)
        .collect();
    assert_eq!(counts, [3, 2]);
}

#[test]
fn each_window_tells_what_its_own_samples_missed() {
    let mut given = samples([0; 4]);
    for (sample, missed) in given.iter_mut().zip([1, 2, 4, 8]) {
        sample.missed = missed;
    }
    let missed: Vec<_> = collect(iter(given).summarize(ms(20)))
        .iter()
        .map(|summary| summary.missed)
        .collect();
    assert_eq!(missed, [1 + 2, 4 + 8]);
}

#[test]
fn it_prints_one_line() {
    let summary = only(collect(iter(sampled(10, [0, 0, 40])).summarize(SECOND)));
    assert_eq!(
        summary.to_string(),
        "event loop lag of 3 samples: min 0.000, mean 0.017, p50 0.010, p90 0.040, p99 0.040, \
         p99.9 0.040, max 0.040, missed 0",
    );
}

proptest! {
    // Each builds and clears many histograms.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_sample_is_in_one_window_and_its_figures_are_in_order(
        given in vec((any::<Duration>(), -20..200_i64, 0..5_u64), 0..60),
        every_ms in 0..500_u64,
        interval in any::<Option<Duration>>(),
    ) {
        let mut now = 0;
        let source: Vec<_> = given
            .iter()
            .map(|(lag, gap, missed)| {
                now += gap;
                let mut sample = Sample::new(*lag, 0, at(now));
                sample.missed = *missed;
                sample
            })
            .collect();
        let mut stream = iter(source.clone()).summarize(ms(every_ms));
        if let Some(interval) = interval {
            stream = stream.expected_interval(interval);
        }
        let mut rest = &source[..];
        for summary in collect(stream) {
            let (window, after) = rest.split_at(summary.count as usize);
            rest = after;
            assert_eq!(summary.first_at, window[0].data_at);
            assert_eq!(summary.last_at, window[window.len() - 1].data_at);
            assert_eq!(summary.missed, window.iter().map(|sample| sample.missed).sum::<u64>());
            assert_eq!(Some(summary.max), window.iter().map(|sample| sample.lag).max());
            let rising = [
                summary.min, summary.p50, summary.p90, summary.p99, summary.p999, summary.max,
            ];
            assert!(rising.is_sorted(), "{rising:?}");
            assert!(summary.min <= summary.mean && summary.mean <= summary.max);
        }
        assert_eq!(rest, []);
    }

    #[test]
    fn uncorrected_figures_are_those_of_the_samples(lags in vec(0..1_000_000_u64, 1..200)) {
        let given = lags.iter().map(|micros| Sample::new(Duration::from_micros(*micros), 0, at(0)));
        let summary = only(collect(iter(given).summarize(SECOND).uncorrected()));
        let mut sorted = lags.clone();
        sorted.sort();
        let rank = |per_mille: usize| {
            let rank = (sorted.len() * per_mille).div_ceil(1_000);
            Duration::from_micros(sorted[rank - 1])
        };
        assert_eq!(summary.min, Duration::from_micros(sorted[0]));
        let mean = sorted.iter().sum::<u64>() * 1_000 / sorted.len() as u64;
        assert_eq!(summary.mean, Duration::from_nanos(mean));
        assert_near(summary.p50, rank(500));
        assert_near(summary.p90, rank(900));
        assert_near(summary.p99, rank(990));
        assert_near(summary.p999, rank(999));
        assert_eq!(summary.max, rank(1_000));
    }
}
