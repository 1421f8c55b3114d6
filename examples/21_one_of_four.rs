//! Blocks one worker of four. Samples do not show it, as another worker takes them. Prints the longest lag
//! of the samples meanwhile, a few milliseconds, and the reports of the stall: when it passes the
//! threshold of 100 ms, at twice and four times that, and when it is over.

use std::time::Duration;

use loopmon::{Monitor, Stall};
use tokio::time::sleep;

/// For examples only: printing blocks while nobody reads the output. See `docs::operating`.
async fn print(stall: Stall) {
    println!("{stall}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<(), loopmon::Error> {
    let monitor = Monitor::builder()
        .interval(Duration::from_millis(10))
        .stall_callback(print)
        .install()?;
    sleep(Duration::from_millis(100)).await;

    let mut samples = monitor.subscribe();
    let stuck = tokio::spawn(async { std::thread::sleep(Duration::from_millis(700)) });
    sleep(Duration::from_millis(500)).await;
    let mut greatest = Duration::ZERO;
    while let Ok(Some(sample)) = tokio::time::timeout(Duration::ZERO, samples.next()).await {
        greatest = greatest.max(sample.lag);
    }
    println!("the greatest lag meanwhile: {greatest:.1?}");

    stuck.await.expect("it only sleeps");
    sleep(Duration::from_millis(100)).await;
    monitor.stop();
    monitor.stopped().await;
    Ok(())
}
