//! The laws in simulated time: on their own, and steering an event loop that is too slow.

mod simulated;

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, proptest};
use proptest::sample::select;

use super::*;
use crate::shed::policy::spread;

const TARGET: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_millis(100);

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1e3)
}

fn laws() -> [Law; 4] {
    [
        Law::balanced(TARGET),
        Law::threshold(Hysteresis::new(TARGET, TARGET / 2).unwrap()),
        Law::proportional(TARGET, INTERVAL),
        Law::controlled_delay(TARGET, INTERVAL),
    ]
}

fn any_law() -> impl Strategy<Value = Law> {
    select(laws().to_vec())
}

/// An observation of a lag of up to `longest` milliseconds.
fn observation(longest: f64) -> impl Strategy<Value = Observation> {
    (0.0..200.0_f64, 0.0..longest, 0.0..=1.0_f64).prop_map(|(elapsed, lag, admitted)| Observation {
        elapsed: millis(elapsed),
        lag: millis(lag),
        admitted,
    })
}

proptest! {
    #[test]
    fn nothing_is_refused_before_the_target_was_reached(
        law in any_law(),
        seen in vec(observation(19.999), 1..50),
    ) {
        let mut law = law.begin();
        for seen in seen {
            prop_assert!(law.update(seen) <= 0.0);
        }
    }

    #[test]
    fn a_longer_lag_refuses_no_less(
        law in any_law(),
        history in vec(observation(500.0), 0..30),
        last in observation(500.0),
        more in 0.0..500.0_f64,
    ) {
        let share = |lag| {
            let mut law = law.begin();
            for seen in &history {
                law.update(*seen);
            }
            law.update(Observation { lag, ..last })
        };
        let (short, long) = (share(last.lag), share(last.lag + millis(more)));
        prop_assert!(short <= long + 1e-9, "{short} > {long}");
    }

    #[test]
    fn the_share_is_a_share_and_goes_when_the_lag_goes(
        law in any_law(),
        history in vec(observation(5_000.0), 0..50),
    ) {
        let mut law = law.begin();
        for seen in history {
            let share = law.update(seen);
            prop_assert!((0.0..=1.0).contains(&share), "{share}");
        }
        // Two seconds without lag.
        let quiet = Observation { elapsed: millis(10.0), lag: Duration::ZERO, admitted: 1.0 };
        let shares: Vec<f64> = (0..200).map(|_| law.update(quiet)).collect();
        prop_assert!(shares[199] <= 0.0, "{}", shares[199]);
    }
}

#[test]
fn extreme_durations_do_no_harm() {
    for law in [
        Law::balanced(Duration::ZERO),
        Law::balanced(Duration::MAX),
        Law::proportional(Duration::ZERO, Duration::ZERO),
        Law::controlled_delay(Duration::ZERO, Duration::ZERO),
        Law::controlled_delay(Duration::MAX, Duration::MAX),
    ] {
        let mut state = law.begin();
        for lag in [Duration::ZERO, Duration::MAX, TARGET, Duration::ZERO] {
            for elapsed in [Duration::ZERO, TARGET, Duration::MAX] {
                let share = state.update(Observation {
                    elapsed,
                    lag,
                    admitted: 0.0,
                });
                assert!((0.0..=1.0).contains(&share), "{law:?}: {share}");
            }
        }
        assert!(law.limit() >= Duration::ZERO);
    }
}

#[test]
fn proportional_is_the_law_of_toobusy() {
    let mut law = Law::proportional(millis(70.0), Duration::ZERO).begin();
    for (lag, share) in [
        (70.0, 0.0),
        (87.5, 0.25),
        (105.0, 0.5),
        (140.0, 1.0),
        (900.0, 1.0),
    ] {
        let refused = law.update(Observation {
            elapsed: INTERVAL,
            lag: millis(lag),
            admitted: 1.0,
        });
        assert!((refused - share).abs() < 1e-9, "{lag}: {refused}");
    }
}

#[test]
fn controlled_delay_lets_peaks_pass_and_goes_on_where_it_was() {
    let mut law = Law::controlled_delay(TARGET, INTERVAL).begin();
    let mut update = |lag, elapsed| {
        law.update(Observation {
            elapsed: millis(elapsed),
            lag: millis(lag),
            admitted: 1.0,
        })
    };
    let expect = |share: f64, steps: f64| {
        let expected = 1.0 - 1.0 / (steps + 1.0).sqrt();
        assert!(
            (share - expected).abs() < 1e-9,
            "{share} after {steps} steps"
        );
    };
    // A peak in each interval is a burst.
    for _ in 0..10 {
        expect(update(500.0, 50.0), 0.0);
        expect(update(500.0, 49.0), 0.0);
        expect(update(19.0, 1.0), 0.0);
    }
    // The first step after an interval, the next after the same time, then in 71 ms, 58 ms …
    expect(update(30.0, 10.0), 0.0);
    expect(update(30.0, 99.0), 0.0);
    expect(update(30.0, 1.0), 1.0);
    expect(update(30.0, 99.0), 1.0);
    expect(update(30.0, 2.0), 2.0);
    expect(update(30.0, 68.0), 2.0);
    expect(update(30.0, 2.0), 3.0);
    expect(update(30.0, 58.0), 4.0);
    expect(update(0.0, 10.0), 0.0);
    // Back soon: two steps before.
    expect(update(30.0, 1_000.0), 0.0);
    expect(update(30.0, 100.0), 2.0);
    // Back late: from the first.
    expect(update(0.0, 10.0), 0.0);
    expect(update(30.0, 2_000.0), 0.0);
    expect(update(30.0, 100.0), 1.0);
}
