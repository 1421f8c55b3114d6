//! Blocks of known length in instrumented futures, each with a name of its own.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::{block_on, block_on_stream};
use loopmon::{Monitor, Phase, Place, Stall};

use crate::load::{self, Random};
use crate::report::{self, Budget, percentile, share};
use crate::{SURE, THRESHOLD};

/// Who polls the futures.
#[derive(Clone, Copy)]
enum Executor {
    Futures,
    RootOfTwoWorkers,
    TaskOfTwoWorkers,
}

struct Block {
    began: Instant,
    lasted: Duration,
}

pub(crate) fn run(count: usize) -> Vec<Budget> {
    report::header(
        "Instrumented futures: blocks of 10 to 200 ms, half sleeping and half spinning; threshold 25 ms",
        &[
            "polled by",
            "live, of those over 37 ms",
            "reported, of those over 25 ms",
            "false alarms",
            "reported after threshold, p50 / p99 ms",
            "duration reported − true, min / p50 / p99 ms",
        ],
    );
    let (mut sure, mut live, mut false_alarms) = (0, 0, 0);
    let (mut late, mut error) = (Vec::new(), Vec::new());
    for (name, executor) in [
        ("`futures::executor::block_on`", Executor::Futures),
        ("`block_on`, 2 workers", Executor::RootOfTwoWorkers),
        ("a worker of 2", Executor::TaskOfTwoWorkers),
    ] {
        let (blocks, stalls) = outcome(executor, count);
        let of = |index: usize, phase| {
            let place = Place::Future(index.to_string().into());
            let mut stalls = stalls.iter();
            stalls.find(move |(_, stall)| stall.place == place && stall.phase == phase)
        };
        let over = |length| {
            let blocks = blocks.iter().enumerate();
            blocks.filter(move |(_, block)| block.lasted >= length)
        };
        let is_live = |index, block: &Block| {
            let started = of(index, Phase::Started);
            started.is_some_and(|(at, _)| *at <= block.began + block.lasted)
        };
        let live_here = over(THRESHOLD + SURE)
            .filter(|(index, block)| is_live(*index, block))
            .count();
        let told = over(THRESHOLD).filter(|(index, _)| of(*index, Phase::Ended).is_some());
        let told = told.count();
        let late_here: Vec<f64> = over(THRESHOLD)
            .filter_map(|(index, block)| {
                let (at, _) = of(index, Phase::Started)?;
                let late = at.saturating_duration_since(block.began + THRESHOLD);
                Some(late.as_secs_f64() * 1e3)
            })
            .collect();
        let error_here: Vec<f64> = over(THRESHOLD)
            .filter_map(|(index, block)| {
                let (_, end) = of(index, Phase::Ended)?;
                Some((end.duration.as_secs_f64() - block.lasted.as_secs_f64()) * 1e3)
            })
            .collect();
        let false_here = (0..blocks.len())
            .filter(|index| {
                blocks[*index].lasted < THRESHOLD && of(*index, Phase::Started).is_some()
            })
            .count();
        let p = |values: &[f64], percents: [f64; 3]| {
            percents.map(|percent| format!("{:.2}", percentile(values, percent)))
        };
        report::row(&[
            name.to_owned(),
            share(live_here, over(THRESHOLD + SURE).count()),
            share(told, over(THRESHOLD).count()),
            false_here.to_string(),
            p(&late_here, [50.0, 99.0, 99.0])[..2].join(" / "),
            p(&error_here, [0.0, 50.0, 99.0]).join(" / "),
        ]);
        sure += over(THRESHOLD + SURE).count();
        live += live_here;
        false_alarms += false_here;
        late.extend(late_here);
        error.extend(error_here);
    }
    budgets(sure, live, false_alarms, &late, &error)
}

fn budgets(
    sure: usize,
    live: usize,
    false_alarms: usize,
    late: &[f64],
    error: &[f64],
) -> Vec<Budget> {
    let (late50, late99) = (percentile(late, 50.0), percentile(late, 99.0));
    let (error0, error50) = (percentile(error, 0.0), percentile(error, 50.0));
    vec![
        Budget {
            what: "instrumented: found live, and no false alarm",
            budget: "≥ 99.9 %, none",
            measured: format!("{}, {false_alarms}", share(live, sure)),
            kept: live * 1_000 >= sure * 999 && false_alarms == 0,
        },
        Budget {
            what: "instrumented: reported after the threshold",
            budget: "p50 ≤ 3 ms, p99 ≤ 10 ms",
            measured: format!("{late50:.1} ms, {late99:.1} ms"),
            kept: late50 <= 3.0 && late99 <= 10.0,
        },
        Budget {
            what: "instrumented: duration reported at the end against the true one",
            budget: "p50 ≤ 0.2 ms, never under it",
            measured: format!("p50 {error50:.2} ms, least {error0:.2} ms"),
            kept: error50 <= 0.2 && error0 >= 0.0,
        },
    ]
}

/// The blocks, and all that was reported of them and when.
fn outcome(executor: Executor, count: usize) -> (Vec<Block>, Vec<(Instant, Stall)>) {
    let builder = Monitor::builder()
        .stall_threshold(THRESHOLD)
        .capacity(1 << 16);
    let monitor = builder.build().expect("a monitor");
    let stalls = monitor.stalls();
    let listener = thread::spawn(move || -> Vec<_> {
        let stalls = block_on_stream(stalls);
        stalls.map(|stall| (Instant::now(), stall)).collect()
    });
    let runtime = load::runtime(2);
    let mut random = Random(4_711);
    let (tell, told) = mpsc::channel();
    for index in 0..count {
        let length = Duration::from_micros(10_000 + random.below(190_000));
        let (spins, tell) = (random.below(2) == 0, tell.clone());
        let block = monitor.instrument(index.to_string(), async move {
            let began = Instant::now();
            if spins {
                load::spin(length);
            } else {
                thread::sleep(length);
            }
            let lasted = began.elapsed();
            tell.send(Block { began, lasted }).ok();
        });
        match executor {
            Executor::Futures => block_on(block),
            Executor::RootOfTwoWorkers => runtime.block_on(block),
            Executor::TaskOfTwoWorkers => runtime.block_on(async {
                tokio::spawn(block).await.expect("it only blocks");
            }),
        }
        thread::sleep(Duration::from_micros(random.below(30_000)));
    }
    drop(tell);
    monitor.stop();
    (
        told.into_iter().collect(),
        listener.join().expect("it only listens"),
    )
}
