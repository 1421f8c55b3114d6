//! What it costs a test that does not block to be watched by `DenyStalls`: how long the watch takes to begin and to
//! end, and whether it leaves a thread.
//!
//! Tests mostly run in dev builds: `cargo bench --profile dev --bench testing --features testing`.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use loopmon::testing::DenyStalls;
use tokio::runtime::{Builder, Runtime};

const TESTS: usize = 300;

fn main() -> std::io::Result<()> {
    println!("us: first / p50 / p90 of {TESTS} tests");
    for workers in [0, 2, 8] {
        row(workers, "alone", &mut tests(workers)?);
        // As beside tests in other threads: the threads of loopmon run already.
        let runtime = runtime(0)?;
        let _entered = runtime.enter();
        let other = DenyStalls::over(Duration::from_millis(50)).enter();
        let other = other.map_err(std::io::Error::other)?;
        row(workers, "beside another", &mut tests(workers)?);
        drop(other);
    }
    let left = !loopmon::join_threads(Duration::from_secs(10));
    println!("threads left: {left}");
    Ok(())
}

fn runtime(workers: usize) -> std::io::Result<Runtime> {
    match workers {
        0 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build(),
    }
}

/// For each test, how long the watch took to begin, and to end.
fn tests(workers: usize) -> std::io::Result<[Vec<Duration>; 2]> {
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..TESTS {
        let test = DenyStalls::over(Duration::from_millis(50)).run(async { Instant::now() });
        let runtime = runtime(workers)?;
        let built = Instant::now();
        let ran = runtime.block_on(test);
        ends.push(ran.elapsed());
        begins.push(ran - built);
    }
    Ok([begins, ends])
}

fn row(workers: usize, how: &str, times: &mut [Vec<Duration>; 2]) {
    let kind = match workers {
        0 => "current_thread".to_owned(),
        _ => format!("multi_thread, {workers} workers"),
    };
    let [begin, end] = times.each_mut().map(|times| {
        let first = times[0].as_micros();
        times.sort_unstable();
        let at = |part: usize| times[TESTS * part / 10].as_micros();
        format!("{first:>6} / {:>5} / {:>5}", at(5), at(9))
    });
    println!("{kind:24} {how:16} begin {begin}   end {end}");
}
