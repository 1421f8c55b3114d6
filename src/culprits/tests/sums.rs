//! Whatever is reported, the sums lose nothing.

use proptest::prelude::*;

use super::*;

/// A report of one of a few stalls.
#[derive(Debug, Clone)]
struct Step {
    stall: usize,
    grows: u64,
    ends: bool,
    resets: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..300, 1_u64..1_000, any::<bool>(), 0_u8..20);
    let step = step.prop_map(|(stall, grows, ends, resets)| Step {
        stall,
        grows,
        ends,
        resets: resets == 0,
    });
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// The sum over all culprits and what gave way is that over all stalls, whatever is reset in between.
    #[test]
    fn sums_lose_nothing(steps in steps()) {
        let (account, recorder) = account();
        let mut stalls: HashMap<usize, Stall> = HashMap::new();
        let mut lasted = Duration::ZERO;
        let (mut before, mut begun) = (Tally::default(), 0);
        for step in steps {
            let stall = stalls.entry(step.stall).or_insert_with(|| {
                begun += 1;
                // Of each worker one at a time, so that none is taken for over.
                let stall = Stall { phase: Phase::Started, ..ended(step.stall, 0, 0) };
                by(stall, &format!("app::f{}", step.stall))
            });
            stall.duration += millis(step.grows);
            lasted += millis(step.grows);
            if step.ends {
                stall.phase = Phase::Ended;
            }
            recorder.record(stall, None);
            if step.ends {
                stalls.remove(&step.stall);
            }
            let now = if step.resets { account.reset() } else { account.snapshot() };
            let mut sum = before;
            sum.add(now.all());
            prop_assert_eq!(sum, Tally { stalls: begun, total: lasted });
            prop_assert!(now.len() <= MOST);
            if step.resets {
                before = sum;
            }
        }
    }

    /// A worker and the futures on it never count more than the time that there is, nor less than the futures.
    #[test]
    fn shared_time_counts_once(
        worker in 100_u64..2_000,
        polls in proptest::collection::vec((0_u64..200, 100_u64..300), 0..8),
        order in any::<proptest::sample::Index>(),
    ) {
        let (account, recorder) = account();
        let (mut at, mut futures) = (0, 0);
        let mut reports = Vec::new();
        for (pause, lasts) in polls {
            at += pause;
            if at + lasts > worker {
                break;
            }
            reports.push(on(of(ended(0, at as i64, lasts), "accept"), 7));
            at += lasts;
            futures += lasts;
        }
        let place = order.index(reports.len() + 1);
        reports.insert(place, on(ended(0, 0, worker), 7));
        reports.iter().for_each(|report| recorder.record(report, None));
        let rest = worker - futures;
        let counts = futures == 0 || millis(rest) >= THRESHOLD;
        let expected = futures + if counts { rest } else { 0 };
        prop_assert_eq!(account.snapshot().all().total, millis(expected));
    }
}
