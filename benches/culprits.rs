//! What does the account of culprits cost as a profile?
//!
//! A `current_thread` runtime blocks again and again for 20 ms, by computing; the threshold is 5 ms. CPU is that of
//! all threads but the runtime's own: detection, stacks and account together. What a stall costs is beyond what an
//! idle runtime costs.
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures real time and starts threads"
)]

use std::time::{Duration, Instant};

use loopmon::Monitor;

const TURN: Duration = Duration::from_secs(5);
const TURNS: usize = 3;
const THRESHOLD: Duration = Duration::from_millis(5);
const BLOCK: Duration = Duration::from_millis(20);

fn main() {
    println!("| blocks | stalls found | CPU of loopmon's threads | for each stall |");
    println!("|---:|---:|---:|---:|");
    let mut idle = 0.0;
    for per_second in [0, 1, 10, 30] {
        let mut turns: Vec<_> = (0..TURNS).map(|_| turn(per_second)).collect();
        turns.sort_by(|one, other| one.cpu.total_cmp(&other.cpu));
        let Turn {
            cpu,
            blocks,
            stalls,
        } = turns[TURNS / 2];
        if per_second == 0 {
            idle = cpu;
        }
        let share = cpu / TURN.as_secs_f64() * 100.0;
        let each = match stalls {
            0 => String::new(),
            stalls => format!("{:.1} ms", (cpu - idle) * 1e3 / stalls as f64),
        };
        println!("| {blocks} | {stalls} | {share:.1} % | {each} |");
    }
}

struct Turn {
    /// The seconds of CPU of all threads but this one.
    cpu: f64,
    blocks: u32,
    stalls: u64,
}

fn turn(per_second: u32) -> Turn {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let monitor = Monitor::builder().stall_threshold(THRESHOLD).build();
    let monitor = monitor.unwrap();
    let _ = monitor.culprits();
    let mut blocks = 0;
    let cpu = runtime.block_on(async {
        monitor.install().unwrap();
        block(); // the first stack reads the debug information
        tokio::time::sleep(Duration::from_secs(2)).await;
        monitor.reset_culprits();
        let before = others_cpu();
        let began = Instant::now();
        while began.elapsed() < TURN {
            if began.elapsed().as_secs_f64() * f64::from(per_second) > f64::from(blocks) {
                blocks += 1;
                block();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        others_cpu() - before
    });
    let stalls = monitor.culprits().all().stalls;
    monitor.stop();
    drop(runtime);
    let _ = loopmon::join_threads(Duration::from_secs(10));
    Turn {
        cpu,
        blocks,
        stalls,
    }
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
