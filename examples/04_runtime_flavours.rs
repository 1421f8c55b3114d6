//! Monitors every flavour of runtime, and shows what lag means on each.
//!
//! On each flavour some code blocks its thread for 0.5 s. Prints one line for each: the sample with the
//! longest lag.
//!
//! ```text
//! current_thread, main blocks: event loop lag: 0.500, running tasks: 0, at 2026-11-22 15:29:40.766393+00:00
//! multi_thread, main blocks: event loop lag: 0.000, running tasks: 0, at 2026-11-22 15:29:40.766393+00:00
//! ```
//!
//! - `current_thread`, `LocalRuntime`, `LocalSet`: all code runs on one thread. A block anywhere on it,
//!   also in `main`, delays everything: the lag is about 0.5 s.
//! - `multi_thread`: `main` is not on a worker, so a block in it delays no task. A blocked worker delays
//!   the tasks that wait for it, but while another worker is free, that one takes the sample on time.
//!   Lag shows neither block: it is near zero. It shows when all workers are blocked.

use std::error::Error;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;
use tokio_stream::StreamExt;

const INTERVAL: Duration = Duration::from_millis(100);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

async fn block() -> Outcome {
    thread::sleep(5 * INTERVAL);
    Ok(())
}

/// Prints the worst sample taken while `work` runs.
async fn watch(name: &str, work: impl AsyncFnOnce() -> Outcome) -> Outcome {
    let monitor = loopmon::create(INTERVAL, ())?;
    let samples = monitor.subscribe();

    // Until just before a sample is due, so that the lag shows the whole block.
    sleep(2 * INTERVAL - Duration::from_millis(1)).await;
    work().await?;
    sleep(INTERVAL + INTERVAL / 2).await;

    monitor.stop();
    let samples: Vec<_> = samples.collect().await;
    let worst = samples.iter().max_by_key(|sample| sample.lag);
    println!("{name}: {}", worst.ok_or("no sample")?);
    Ok(())
}

fn main() -> Outcome {
    let on_a_worker = async || tokio::spawn(block()).await?;
    let in_local_task = async || spawn_local(block()).await?;

    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(watch("current_thread, main blocks", block))?;

    let local = LocalSet::new();
    let watching = watch("LocalSet, a local task blocks", in_local_task);
    local.block_on(&runtime, watching)?;

    let runtime = Builder::new_current_thread()
        .enable_time()
        .build_local(LocalOptions::default())?;
    runtime.block_on(watch("LocalRuntime, main blocks", block))?;

    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?;
    runtime.block_on(watch("multi_thread, main blocks", block))?;
    runtime.block_on(watch("multi_thread, one worker of two blocks", on_a_worker))
}
