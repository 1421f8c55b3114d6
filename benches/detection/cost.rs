//! What it costs: the monitored runtime, and the watchdog's own thread.

use std::fs;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loopmon::{Monitor, Stalls};
use tokio::runtime::Runtime;

use crate::THRESHOLD;
use crate::load;
use crate::report::{self, Budget, percentile};

const TICK: Duration = Duration::from_millis(5);
const SLICE: Duration = Duration::from_millis(200);

pub(crate) fn run(rounds: usize) -> Vec<Budget> {
    let mut budgets = vec![throughput(rounds / 2)];
    budgets.extend(watchdog(Duration::from_millis(100 * rounds as u64)));
    budgets
}

/// What is on beside the runtime.
struct Kind {
    name: &'static str,
    /// A thread that does nothing but tick as the watchdog does.
    ticks: bool,
    sampling: Option<Duration>,
    stalls: bool,
}

const HARDLY_EVER: Duration = Duration::from_secs(3_600);

const KINDS: [Kind; 5] = [
    kind("nothing", false, None, false),
    kind("a thread that only ticks", true, None, false),
    kind(
        "sampling at 10 ms",
        false,
        Some(Duration::from_millis(10)),
        false,
    ),
    kind("stall detection", false, Some(HARDLY_EVER), true),
    kind("both", false, Some(Duration::from_millis(10)), true),
];

const fn kind(name: &'static str, ticks: bool, sampling: Option<Duration>, stalls: bool) -> Kind {
    Kind {
        name,
        ticks,
        sampling,
        stalls,
    }
}

impl Kind {
    /// The yields while it is on.
    fn yields(&self, runtime: &Runtime, workers: usize) -> f64 {
        let ticking = self.ticks.then(|| only_ticks(SLICE));
        let monitor = self.sampling.map(|interval| {
            let builder = Monitor::builder().interval(interval);
            let builder = builder.stall_threshold(THRESHOLD);
            builder.install_on(runtime.handle()).expect("a monitor")
        });
        let wanted = monitor.as_ref().filter(|_| self.stalls);
        let wanted = wanted.map(Monitor::stalls);
        let with = yields(runtime, workers);
        if let Some(monitor) = monitor {
            monitor.stop();
            runtime.block_on(monitor.stopped());
        }
        drop(wanted);
        if let Some(ticking) = ticking {
            ticking.join().expect("it only ticks");
        }
        with
    }
}

fn only_ticks(duration: Duration) -> JoinHandle<()> {
    let ticking = move || {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            thread::sleep(TICK);
        }
    };
    let named = thread::Builder::new().name("only-ticks".to_owned());
    named.spawn(ticking).expect("a thread")
}

/// What a saturated runtime gets done with monitoring, and without, in turns.
fn throughput(rounds: usize) -> Budget {
    let measuring = thread::Builder::new().name("only-yields".to_owned());
    let measuring = measuring.spawn(move || throughput_here(rounds));
    measuring.expect("a thread").join().expect("it only yields")
}

fn throughput_here(rounds: usize) -> Budget {
    report::header(
        "Yields in a second of the workers' CPU, with monitoring over without; slices of 200 ms",
        &["runtime", "what is on", "slices", "median", "p25", "p75"],
    );
    let mut worst = f64::INFINITY;
    for workers in [0, 2] {
        let runtime = load::runtime(workers);
        // As any service has. With none at all Tokio's driver has less to do, which the first timer
        // ends, whoever sets it.
        runtime.spawn(tokio_timer());
        let mut ratios = KINDS.map(|_| Vec::new());
        for _ in 0..rounds {
            for (kind, ratios) in KINDS.iter().zip(&mut ratios) {
                let before = yields(&runtime, workers);
                let with = kind.yields(&runtime, workers);
                let after = yields(&runtime, workers);
                ratios.push(with / ((before + after) / 2.0));
            }
        }
        for (kind, ratios) in KINDS.iter().zip(&ratios) {
            let percentiles = [50.0, 25.0, 75.0].map(|percent| percentile(ratios, percent));
            let [median, p25, p75] = percentiles.map(|ratio| format!("{ratio:.3}"));
            let slices = (3 * rounds).to_string();
            let name = kind.name.to_owned();
            report::row(&[load::name(workers), name, slices, median, p25, p75]);
        }
        worst = worst.min(percentile(&ratios[4], 50.0));
    }
    Budget {
        what: "throughput of the monitored runtime, sampling at 10 ms and stall detection on",
        budget: "≥ 0.995",
        measured: format!("{worst:.3} (the smaller median)"),
        kept: worst >= 0.995,
    }
}

async fn tokio_timer() {
    tokio::time::sleep(HARDLY_EVER).await;
}

/// How often a hundred tasks for each worker give way in a second of the workers' CPU: what others
/// do on the machine meanwhile hardly counts.
fn yields(runtime: &Runtime, workers: usize) -> f64 {
    // The names of the threads that run the workers.
    let threads = match workers {
        0 => "only-yields",
        _ => "tokio-rt-worker",
    };
    let before = cpu(threads);
    let until = Instant::now() + SLICE;
    let count: u64 = runtime.block_on(async {
        let tasks = (0..100 * workers.max(1)).map(|_| {
            tokio::spawn(async move {
                let mut count = 0_u64;
                while count % 64 != 0 || Instant::now() < until {
                    tokio::task::yield_now().await;
                    count += 1;
                }
                count
            })
        });
        let mut sum = 0;
        for task in tasks.collect::<Vec<_>>() {
            sum += task.await.expect("it only counts");
        }
        sum
    });
    // The system brings the account up to date when a thread sleeps.
    thread::sleep(Duration::from_millis(2));
    count as f64 / (cpu(threads) - before)
}

/// The watchdog beside a thread that only ticks.
fn watchdog(duration: Duration) -> Vec<Budget> {
    report::header(
        "CPU of the watchdog at a tick of 5 ms",
        &[
            "runtimes",
            "µs a tick",
            "a thread that only ticks",
            "ratio",
            "of a core",
        ],
    );
    let mut per_tick = Vec::new();
    let mut ratio_of_one = f64::NAN;
    for count in [1, 16, 256] {
        let monitors: Vec<_> = (0..count).map(|_| idle_runtime()).collect();
        thread::sleep(Duration::from_millis(200));
        let ticking = only_ticks(duration + 100 * TICK);
        let before = [cpu("loopmon-watchdog"), cpu("only-ticks")];
        thread::sleep(duration);
        let after = [cpu("loopmon-watchdog"), cpu("only-ticks")];
        ticking.join().expect("it only ticks");
        monitors.iter().for_each(|(monitor, _)| monitor.stop());
        let ticks = duration.as_secs_f64() / TICK.as_secs_f64();
        let [own, empty] = [0, 1].map(|index| (after[index] - before[index]) * 1e6 / ticks);
        if count == 1 {
            ratio_of_one = own / empty;
        }
        per_tick.push((f64::from(count), own - empty));
        report::row(&[
            count.to_string(),
            format!("{own:.1}"),
            format!("{empty:.1}"),
            format!("{:.2}", own / empty),
            format!("{:.2} %", own / 1e6 / TICK.as_secs_f64() * 100.0),
        ]);
    }
    let (one, many) = (per_tick[0], per_tick[2]);
    let further = (many.1 - one.1) / (many.0 - one.0);
    vec![
        Budget {
            what: "the watchdog's CPU at a 5 ms tick over a thread that only ticks",
            budget: "≤ 1.3",
            measured: format!("{ratio_of_one:.2}"),
            kept: ratio_of_one <= 1.3,
        },
        Budget {
            what: "each further runtime, per tick",
            budget: "≤ 0.3 µs",
            measured: format!("{further:.2} µs"),
            kept: further <= 0.3,
        },
    ]
}

/// A runtime of its own thread that has nothing to do, until its monitor stops.
fn idle_runtime() -> (Monitor, Stalls) {
    let builder = Monitor::builder().interval(HARDLY_EVER);
    let monitor = builder.stall_threshold(THRESHOLD).build();
    let monitor = monitor.expect("a monitor");
    let stalls = monitor.stalls();
    let inside = monitor.clone();
    thread::Builder::new()
        .spawn(move || {
            load::runtime(0).block_on(async {
                inside.install().expect("it is a runtime");
                inside.stopped().await;
            });
        })
        .expect("a thread");
    (monitor, stalls)
}

/// CPU seconds that the threads of this name have used; the system keeps 15 bytes of it.
fn cpu(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let of_name = tasks.flatten().filter(|task| {
        let comm = fs::read_to_string(task.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == &name[..name.len().min(15)])
    });
    let nanos = of_name.filter_map(|task| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}
