//! What does a sample cost on an idle runtime, and how much lag does it show there?
//!
//! Beside the samplers: a thread that only sleeps, which is what the machine itself costs and how
//! late it is; a bare loop of `tokio::time::sleep`, which the budget is relative to; and Python's
//! `loopmon` with a bare loop of `asyncio.sleep`, if `python3` has it. They take turns, each on a
//! `current_thread` runtime of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "clock.rs is for the crate itself: a bench has a clock of its own"
)]

#[path = "shared/cpu.rs"]
mod cpu;
#[path = "shared/figures.rs"]
mod figures;

use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use figures::Figures;
use loopmon::{BlockingPoolSampler, Monitor, Sampler, SleepSampler, WakeSampler};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

const WARM_UP: Duration = Duration::from_millis(200);

/// Interval and window in milliseconds, and how often each subject has its turn.
const ROUNDS: [(u64, u64, usize); 3] = [(1, 1_000, 11), (10, 2_000, 11), (100, 4_000, 7)];

/// Python's CPU per sample, its bare loop's, and the idle lag, in µs, as measured in a quiet hour
/// for an earlier comparison: what is shown where Python is not at hand.
const PYTHON_THEN: [(u64, &str); 2] = [
    (1, "CPU 31 (bare 24)"),
    (10, "CPU 66 (bare 64), idle lag p50 225, p99 551"),
];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What one subject did in one turn.
struct Turn {
    cpu: Duration,
    allocations: Option<u64>,
    samples: usize,
    /// One a sample, where there is such a thing.
    lags: Vec<Duration>,
}

impl Turn {
    fn cpu_per_sample(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.samples as f64
    }
}

/// What the process uses of the CPU while `runtime` runs for `window`, and how often that allocates.
fn used(runtime: &Runtime, window: Duration) -> Outcome<(Duration, u64)> {
    let cpu = cpu::time(None)?;
    let run = || runtime.block_on(async { sleep(window).await });
    let allocations = allocation_counter::measure(run).count_total;
    Ok((cpu::time(None)?.saturating_sub(cpu), allocations))
}

fn thread(interval: Duration, window: Duration) -> Outcome<Turn> {
    let mut lags = Vec::with_capacity(1 << 13);
    // What an ended thread has used goes with it: the last turn's must be gone.
    thread::sleep(WARM_UP);
    let (cpu, began) = (cpu::time(None)?, Instant::now());
    while began.elapsed() < window {
        let slept = Instant::now();
        thread::sleep(interval);
        lags.push(slept.elapsed().saturating_sub(interval));
    }
    Ok(Turn {
        cpu: cpu::time(None)?.saturating_sub(cpu),
        allocations: None,
        samples: lags.len(),
        lags,
    })
}

fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_time().build()?)
}

fn bare(interval: Duration, window: Duration) -> Outcome<Turn> {
    let runtime = runtime()?;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    runtime.spawn(async move {
        loop {
            sleep(interval).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    used(&runtime, WARM_UP)?;
    let before = count.load(Ordering::Relaxed);
    let (cpu, allocations) = used(&runtime, window)?;
    Ok(Turn {
        cpu,
        allocations: Some(allocations),
        samples: count.load(Ordering::Relaxed) - before,
        lags: Vec::new(),
    })
}

fn monitored(sampler: impl Sampler, interval: Duration, window: Duration) -> Outcome<Turn> {
    let runtime = runtime()?;
    let monitor = Monitor::builder()
        .interval(interval)
        .sampler(sampler)
        // So that nothing is lost to a reader that comes when all is over.
        .capacity(1 << 13)
        .install_on(runtime.handle())?;
    let _present_from_the_first = monitor.subscribe();
    used(&runtime, WARM_UP)?;
    let mut samples = monitor.subscribe();
    let (cpu, allocations) = used(&runtime, window)?;
    monitor.stop();
    let mut lags = Vec::new();
    runtime.block_on(async {
        while let Some(sample) = samples.next().await {
            assert_eq!(sample.missed, 0);
            lags.push(sample.lag);
        }
    });
    Ok(Turn {
        cpu,
        allocations: Some(allocations),
        samples: lags.len(),
        lags,
    })
}

fn has_python() -> bool {
    let import = Command::new("python3")
        .args(["-c", "import loopmon"])
        .output();
    import.is_ok_and(|output| output.status.success())
}

fn python(subject: &str, interval: Duration, window: Duration) -> Outcome<Turn> {
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sampling.py"))
        .arg(subject)
        .args([interval, window].map(|time| time.as_secs_f64().to_string()))
        .output()?;
    let seconds = String::from_utf8(output.stdout)?
        .split_whitespace()
        .map(|field| Ok(Duration::from_secs_f64(field.parse::<f64>()?.max(0.0))))
        .collect::<Outcome<Vec<_>>>()?;
    let (cpu, lags) = seconds.split_first().ok_or("Python printed nothing")?;
    Ok(Turn {
        cpu: *cpu,
        allocations: None,
        samples: lags.len(),
        lags: lags.to_vec(),
    })
}

/// One line of the table; `bare` is what the subject is measured against.
fn print(subject: &str, turns: &[Turn], bare: &[Turn]) {
    let cpu: Figures = turns.iter().map(Turn::cpu_per_sample).collect();
    let ratio: Figures = turns
        .iter()
        .zip(bare)
        .map(|(turn, bare)| turn.cpu_per_sample() / bare.cpu_per_sample())
        .collect();
    let samples: usize = turns.iter().map(|turn| turn.samples).sum();
    let allocations: Option<u64> = turns.iter().map(|turn| turn.allocations).sum();
    let allocations = allocations.map_or("-".to_owned(), |sum| {
        format!("{:.3}", sum as f64 / samples as f64)
    });
    let lags = turns.iter().flat_map(|turn| &turn.lags);
    let lags: Figures = lags.map(|lag| lag.as_secs_f64() * 1e6).collect();
    let lags = [0.5, 0.99].map(|share| match lags.at(share) {
        lag if lag.is_nan() => "-".to_owned(),
        lag => format!("{lag:.0}"),
    });
    println!(
        "{subject:19} {cpu:>20.1} {ratio:>18.2} {allocations:>11} {:>8} {:>8} {samples:>8}",
        lags[0], lags[1],
    );
}

fn main() -> Outcome<()> {
    let has_python = has_python();
    println!("CPU per sample and lag in µs; median [quartiles] of the turns, lag of all samples");
    for (millis, window, rounds) in ROUNDS {
        let interval = Duration::from_millis(millis);
        let window = Duration::from_millis(window);
        let mut turns: [Vec<Turn>; 7] = Default::default();
        for _ in 0..rounds {
            turns[0].push(bare(interval, window)?);
            turns[1].push(monitored(SleepSampler::new(), interval, window)?);
            turns[2].push(monitored(WakeSampler::new(), interval, window)?);
            turns[3].push(monitored(BlockingPoolSampler::new(), interval, window)?);
            turns[4].push(thread(interval, window)?);
            if has_python {
                turns[5].push(python("bare", interval, window)?);
                turns[6].push(python("loopmon", interval, window)?);
            }
        }
        let [bare, sleep, wake, pool, thread, asyncio, python] = &turns;
        println!(
            "\n{:19} {:>20} {:>18} {:>11} {:>8} {:>8} {:>8}",
            format!("every {millis} ms"),
            "CPU per sample",
            "over bare",
            "allocations",
            "lag p50",
            "lag p99",
            "samples",
        );
        print("thread sleep", thread, bare);
        print("tokio sleep", bare, bare);
        print("SleepSampler", sleep, bare);
        print("WakeSampler", wake, bare);
        print("BlockingPoolSampler", pool, bare);
        if has_python {
            print("asyncio sleep", asyncio, asyncio);
            print("Python loopmon", python, asyncio);
        } else if let Some((_, then)) = PYTHON_THEN.iter().find(|(at, _)| *at == millis) {
            println!("Python loopmon      {then} (not measured now)");
        }
    }
    Ok(())
}
