//! What does the account of culprits cost as a profile?
//!
//! A `current_thread` runtime blocks again and again for a little longer than a threshold of 5 ms, by computing.
//! In turn: nobody asks for stalls, a stream does, the account does. CPU is that of all threads but the runtime's.
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures real time and starts threads"
)]

use std::time::{Duration, Instant};

use loopmon::Monitor;

const TURN: Duration = Duration::from_secs(5);
const TURNS: usize = 3;
const THRESHOLD: Duration = Duration::from_millis(5);
const BLOCK: Duration = Duration::from_millis(6);

fn main() {
    println!("| stalls per second | detection | found | CPU of loopmon's threads | per stall |");
    println!("|---:|---|---:|---:|---:|");
    for per_second in [0, 1, 10, 100] {
        for (name, detects) in [("off", false), ("for the account", true)] {
            turns(per_second, name, detects);
        }
    }
}

fn turns(per_second: u32, name: &str, detects: bool) {
    let mut turns: Vec<_> = (0..TURNS).map(|_| turn(per_second, detects)).collect();
    turns.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (cpu, stalls) = turns[TURNS / 2];
    let share = cpu / TURN.as_secs_f64() * 100.0;
    let each = if stalls > 0 {
        format!("{:.0} µs", cpu * 1e6 / stalls as f64)
    } else {
        String::new()
    };
    println!("| {per_second} | {name} | {stalls} | {share:.2} % | {each} |");
}

/// Returns the seconds of CPU of all threads but this one, and how many stalls were counted.
fn turn(per_second: u32, detects: bool) -> (f64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let monitor = Monitor::builder()
        .stall_threshold(THRESHOLD)
        .build()
        .unwrap();
    if detects {
        let _ = monitor.culprits();
    }
    let others = runtime.block_on(async {
        monitor.install().unwrap();
        block(); // the first stack reads the debug information
        tokio::time::sleep(Duration::from_secs(2)).await;
        monitor.reset_culprits();
        let before = others_cpu();
        let began = Instant::now();
        let mut blocks = 0;
        while began.elapsed() < TURN {
            if began.elapsed().as_secs_f64() * f64::from(per_second) > f64::from(blocks) {
                blocks += 1;
                block();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        others_cpu() - before
    });
    let stalls = monitor.culprits().all().stalls;
    monitor.stop();
    drop(runtime);
    let _ = loopmon::join_threads(Duration::from_secs(10));
    (others, if detects { stalls } else { 0 })
}

#[inline(never)]
fn block() {
    let began = Instant::now();
    while began.elapsed() < BLOCK {
        std::hint::spin_loop();
    }
}

/// Seconds, by the time that the scheduler counts for each thread.
fn others_cpu() -> f64 {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let own = own.file_name().unwrap().to_owned();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let others = tasks
        .filter_map(Result::ok)
        .filter(|task| task.file_name() != own);
    let run = |task: std::fs::DirEntry| -> Option<f64> {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    others.filter_map(run).sum::<f64>() / 1e9
}
