//! Does monitoring slow a busy runtime down, and what does the monitor itself take of the CPU?
//!
//! 1,000 tasks count and yield, for ever. Slices of time without and with a monitor alternate; the
//! ratio of a pair is the throughput with over that without. The same with nothing in either slice
//! shows what the machine can resolve, the same with a bare loop of `tokio::time::sleep` what a
//! timer costs in any case.
//!
//! As that is about a percent, the last columns tell what the monitor itself uses: each poll of its
//! future, by a clock around it, and for each sample the CPU time of its thread, if it has one.
#![allow(
    clippy::disallowed_methods,
    reason = "clock.rs is for the crate itself: a bench has a clock of its own"
)]

#[path = "shared/cpu.rs"]
mod cpu;
#[path = "shared/figures.rs"]
mod figures;

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use figures::Figures;
use loopmon::{Monitor, SleepSampler, WakeSampler};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

const TASKS: usize = 1_000;
const SLICE: Duration = Duration::from_millis(200);
const PAIRS: usize = 30;
const METHODS: [(Method, &str, &[u64]); 4] = [
    (Method::Nothing, "nothing", &[0, 0]),
    (Method::Bare, "bare sleep", &[10]),
    (Method::Sleep, "SleepSampler", &[1, 10, 100]),
    (Method::Wake, "WakeSampler", &[1, 10, 100]),
];
const FAR_OFF: Duration = Duration::from_secs(86_400);
const OWN_TIME: Duration = Duration::from_secs(4);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One task's count, on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicU64);

/// A runtime that is busy until it is stopped.
struct Busy {
    runtime: Handle,
    counts: Arc<[Count]>,
    /// Disconnected, it ends the thread.
    alive: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Flavour {
    CurrentThread,
    MultiThread,
    /// With no timer but the monitor's.
    WithoutTimers,
}

impl Busy {
    fn start(flavour: Flavour) -> Outcome<Busy> {
        let runtime = match flavour {
            Flavour::CurrentThread => Builder::new_current_thread().enable_time().build()?,
            Flavour::MultiThread | Flavour::WithoutTimers => Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()?,
        };
        if !matches!(flavour, Flavour::WithoutTimers) {
            // As any timeout in a program would: while a timer is set, Tokio reads the clock each
            // time it looks for events.
            runtime.spawn(async { tokio::time::sleep(FAR_OFF).await });
        }
        let counts: Arc<[Count]> = (0..TASKS).map(|_| Count::default()).collect();
        for task in 0..TASKS {
            let counts = Arc::clone(&counts);
            runtime.spawn(async move {
                loop {
                    counts[task].0.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
        }
        let handle = runtime.handle().clone();
        let (alive, ended) = mpsc::channel();
        let thread =
            thread::Builder::new()
                .name("busy".to_owned())
                .spawn(move || match flavour {
                    // Its thread is this one, and looks now and then whether it is to go on.
                    Flavour::CurrentThread => runtime.block_on(async {
                        while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                            tokio::time::sleep(SLICE).await;
                        }
                    }),
                    Flavour::MultiThread | Flavour::WithoutTimers => {
                        ended.recv().ok();
                    }
                })?;
        Ok(Busy {
            runtime: handle,
            counts,
            alive,
            thread,
        })
    }

    fn stop(self) -> Outcome<()> {
        drop(self.alive);
        Ok(self.thread.join().map_err(|_| "the runtime panicked")?)
    }

    /// Yields per second over a slice.
    fn throughput(&self) -> f64 {
        let total = || -> u64 {
            let counts = self.counts.iter();
            counts.map(|count| count.0.load(Ordering::Relaxed)).sum()
        };
        let (began, before) = (Instant::now(), total());
        thread::sleep(SLICE);
        (total() - before) as f64 / began.elapsed().as_secs_f64()
    }
}

#[derive(Clone, Copy)]
enum Method {
    Nothing,
    Bare,
    Sleep,
    Wake,
}

/// Runs until dropped.
enum Running {
    Nothing,
    Bare(JoinHandle<()>),
    Monitor(Monitor),
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Running::Nothing => {}
            Running::Bare(task) => task.abort(),
            Running::Monitor(monitor) => monitor.stop(),
        }
    }
}

fn monitor(method: Method, interval: Duration) -> Outcome<Option<Monitor>> {
    let builder = Monitor::builder().interval(interval);
    Ok(match method {
        Method::Nothing | Method::Bare => None,
        Method::Sleep => Some(builder.sampler(SleepSampler::new()).build()?),
        Method::Wake => Some(builder.sampler(WakeSampler::new()).build()?),
    })
}

fn start(busy: &Busy, method: Method, interval: Duration) -> Outcome<Running> {
    if let Some(monitor) = monitor(method, interval)? {
        monitor.install_on(&busy.runtime)?;
        return Ok(Running::Monitor(monitor));
    }
    if matches!(method, Method::Nothing) {
        return Ok(Running::Nothing);
    }
    Ok(Running::Bare(busy.runtime.spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
        }
    })))
}

/// The throughput with `method` over that without, of pairs of slices.
fn ratios(busy: &Busy, method: Method, interval: Duration) -> Outcome<Figures> {
    let with = || -> Outcome<f64> {
        let _running = start(busy, method, interval)?;
        Ok(busy.throughput())
    };
    // Each comes first as often as the other.
    (0..PAIRS)
        .map(|pair| {
            if pair % 2 == 0 {
                let without = busy.throughput();
                Ok(with()? / without)
            } else {
                Ok(with()? / busy.throughput())
            }
        })
        .collect()
}

/// What a monitor itself takes: each poll of its future, and its thread for each sample, in µs.
fn own_time(busy: &Busy, method: Method, interval: Duration) -> Outcome<Option<(Figures, f64)>> {
    let Some(monitor) = monitor(method, interval)? else {
        return Ok(None);
    };
    let mut samples = monitor.subscribe();
    let running = monitor.clone();
    let polls = busy.runtime.spawn(async move {
        let mut run = pin!(running.run());
        let mut polls = Vec::with_capacity(1 << 13);
        let outcome = poll_fn(|cx| {
            let began = Instant::now();
            let poll = run.as_mut().poll(cx);
            polls.push(began.elapsed().as_secs_f64() * 1e6);
            poll
        });
        outcome.await.map(|()| polls)
    });
    thread::sleep(OWN_TIME);
    let thread = cpu::time(Some("loopmon-wake"))?;
    monitor.stop();
    let (taken, polls) = busy.runtime.block_on(async {
        let mut taken = 0;
        while let Some(sample) = samples.next().await {
            taken += 1 + sample.missed;
        }
        Ok::<_, Box<dyn Error>>((taken, polls.await??))
    })?;
    let thread = thread.as_secs_f64() * 1e6 / taken as f64;
    Ok(Some((polls.into_iter().collect(), thread)))
}

fn main() -> Outcome<()> {
    println!("{PAIRS} pairs of slices of {SLICE:?}; median [quartiles]\n");
    println!(
        "{:16} {:>13} {:>9} {:>22} {:>20} {:>11}",
        "runtime", "with", "interval", "throughput ratio", "own poll, µs", "thread, µs",
    );
    for (flavour, runtime) in [
        (Flavour::CurrentThread, "current_thread"),
        (Flavour::MultiThread, "multi_thread"),
        (Flavour::WithoutTimers, "- without timers"),
    ] {
        let busy = Busy::start(flavour)?;
        // To its normal pace.
        busy.throughput();
        for (method, sampler, intervals) in METHODS {
            for millis in intervals.iter().copied() {
                let interval = Duration::from_millis(millis);
                let ratios = ratios(&busy, method, interval)?;
                print!("{runtime:16} {sampler:>13} {millis:>6} ms {ratios:>22.3}");
                match own_time(&busy, method, interval)? {
                    Some((polls, thread)) => println!(" {polls:>20.2} {thread:>11.1}"),
                    None => println!(),
                }
            }
        }
        busy.stop()?;
    }
    Ok(())
}
