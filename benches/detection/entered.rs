//! `block_on` as it should be used, entered and left again and again: nothing may be told.

use std::thread;
use std::time::{Duration, Instant};

use loopmon::Monitor;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::THRESHOLD;
use crate::healthy::Counting;
use crate::load::{self, Random};
use crate::report::{self, Budget};

/// How many threads do the same at once.
const COPIES: u64 = 12;

/// Uses `block_on` until then, and returns what the monitors have told.
type Use = fn(Instant, Random) -> Vec<Counting>;

const USES: [(&str, Use); 4] = [
    ("two runtimes in turn, with rests between", two_in_turn),
    ("`current_thread`, attached from outside", from_outside),
    ("within `spawn_blocking` and `block_in_place`", within),
    ("parked all the time", parked),
];

pub(crate) fn run(each: Duration) -> Budget {
    let minutes = each.as_secs() * COPIES / 60;
    report::header(
        &format!("Healthy use of `block_on`, {minutes} minutes each, threshold 25 ms"),
        &["what", "false alarms", "starved by the host"],
    );
    let mut total = 0;
    for (name, use_it) in USES {
        let until = Instant::now() + each;
        let using = (1..=COPIES).map(|seed| thread::spawn(move || use_it(until, Random(seed))));
        let using: Vec<_> = using.collect();
        let counted = using
            .into_iter()
            .flat_map(|using| using.join().expect("it ends"));
        let counted: Vec<_> = counted.map(Counting::stop).collect();
        let alarms: usize = counted.iter().map(|(alarms, _)| alarms).sum();
        let starved: usize = counted.iter().map(|(_, starved)| starved).sum();
        total += alarms;
        report::row(&[name.to_owned(), alarms.to_string(), starved.to_string()]);
    }
    Budget {
        what: "false alarms on healthy use of `block_on`",
        budget: "none",
        measured: total.to_string(),
        kept: total == 0,
    }
}

fn monitor() -> Monitor {
    let builder = Monitor::builder().stall_threshold(THRESHOLD);
    builder.build().expect("a monitor")
}

/// Longer than the threshold, outside of any poll.
fn rest(random: &mut Random) {
    thread::sleep(Duration::from_micros(20_000 + random.below(60_000)));
}

fn short(random: &mut Random) -> Duration {
    Duration::from_micros(500 + random.below(40_000))
}

fn two_in_turn(until: Instant, mut random: Random) -> Vec<Counting> {
    let runtimes = [load::runtime(1), load::runtime(2)];
    let monitors = runtimes.each_ref().map(|runtime| {
        let monitor = monitor();
        let counting = Counting::begin(&monitor);
        runtime.block_on(async { monitor.install().expect("it is a runtime") });
        counting
    });
    while Instant::now() < until {
        for runtime in &runtimes {
            let asleep = short(&mut random);
            runtime.block_on(async { sleep(asleep).await });
            rest(&mut random);
        }
    }
    monitors.into()
}

fn from_outside(until: Instant, mut random: Random) -> Vec<Counting> {
    let (runtime, monitor) = (load::runtime(0), monitor());
    let counting = Counting::begin(&monitor);
    let handle = runtime.handle();
    monitor.install_on(handle).expect("it is a runtime");
    while Instant::now() < until {
        let asleep = short(&mut random);
        runtime.block_on(async { sleep(asleep).await });
        rest(&mut random);
    }
    vec![counting]
}

fn within(until: Instant, mut random: Random) -> Vec<Counting> {
    let (runtime, monitor): (Runtime, _) = (load::runtime(2), monitor());
    let counting = Counting::begin(&monitor);
    runtime.block_on(async {
        monitor.install().expect("it is a runtime");
        while Instant::now() < until {
            let (handle, asleep) = (runtime.handle().clone(), short(&mut random));
            let rests = move || handle.block_on(async { sleep(asleep * 2).await });
            if random.below(2) == 0 {
                tokio::task::spawn_blocking(rests).await.expect("it rests");
            } else {
                tokio::task::block_in_place(rests);
                // Back to the scheduler.
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    vec![counting]
}

fn parked(until: Instant, _: Random) -> Vec<Counting> {
    let (runtime, monitor) = (load::runtime(2), monitor());
    let counting = Counting::begin(&monitor);
    runtime.block_on(async {
        monitor.install().expect("it is a runtime");
        sleep(until.saturating_duration_since(Instant::now())).await;
    });
    vec![counting]
}
