//! What does an instrumented poll cost, beside a bare one and beside other wrappers?
//!
//! `cargo bench --bench instrument --features tracing`
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock and prints"
)]

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use loopmon::Monitor;
use tokio_metrics::TaskMonitor;
use tracing::Instrument;

const ROUNDS: usize = 41;
const POLLS: u32 = 200_000;

/// Does next to nothing at each poll, or spends about as long as a short handler.
#[derive(Clone, Copy)]
struct Work {
    turns: u32,
}

impl Future for Work {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        (0..self.turns).for_each(|turn| {
            black_box(turn);
        });
        Poll::Pending
    }
}

/// Reads the clock at each poll, and does nothing else.
struct Clock<F>(F);

impl<F: Future + Unpin> Future for Clock<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        black_box(Instant::now());
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Nanoseconds per poll.
fn time(future: impl Future, polls: u32) -> f64 {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    let began = Instant::now();
    for _ in 0..polls {
        black_box(future.as_mut().poll(&mut cx).is_pending());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(polls)
}

const WAYS: [&str; 6] = [
    "bare",
    "`instrument`, nobody wants stalls",
    "`instrument`",
    "a clock read",
    "`tokio_metrics::TaskMonitor`",
    "`tracing::Instrument`, no subscriber",
];

/// One turn of each way, in an order that changes.
fn round(number: usize, work: Work, polls: u32, watched: &Monitor, idle: &Monitor) -> [f64; 6] {
    let tasks = TaskMonitor::new();
    let mut times = [0.0; 6];
    for turn in 0..WAYS.len() {
        let way = (turn + number) % WAYS.len();
        times[way] = match way {
            0 => time(work, polls),
            1 => time(Monitor::instrument(idle, "idle", work), polls),
            2 => time(Monitor::instrument(watched, "watched", work), polls),
            3 => time(Clock(work), polls),
            4 => time(TaskMonitor::instrument(&tasks, work), polls),
            _ => time(work.instrument(tracing::info_span!("poll")), polls),
        };
    }
    times
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

fn table(threads: usize, turns: u32, polls: u32) {
    let watched = Monitor::builder().build().unwrap();
    let _stalls = watched.stalls();
    let idle = Monitor::builder().build().unwrap();
    let rounds: Vec<[f64; 6]> = thread::scope(|scope| {
        let rounds = || -> Vec<_> {
            let work = Work { turns };
            let rounds = (0..ROUNDS).map(|number| round(number, work, polls, &watched, &idle));
            rounds.collect()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(rounds)).collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    for (way, name) in WAYS.into_iter().enumerate() {
        let of = |with: fn([f64; 6], usize) -> f64| {
            quartiles(rounds.iter().map(|round| with(*round, way)).collect())
        };
        let [_, median, _] = of(|round, way| round[way]);
        let [low, over, high] = of(|round, way| round[way] - round[0]);
        println!(
            "| {threads} | {turns} | {name} | {median:.1} | {over:.1} [{low:.1}, {high:.1}] |"
        );
    }
}

fn main() {
    let cores = thread::available_parallelism().unwrap().get();
    println!("nanoseconds per poll: median, and over the bare one of the same round [quartiles]\n");
    println!("| threads | work | polled by | ns | over bare |");
    println!("|---:|---:|---|---:|---:|");
    for (turns, polls) in [(0, POLLS), (10_000, POLLS / 1_000)] {
        table(1, turns, polls);
        table(cores, turns, polls);
    }
    assert!(loopmon::join_threads(Duration::from_secs(30)));
}
