//! Fills the blocking pool: its four threads all sleep for three seconds. `tokio::fs::metadata` waits for one
//! of them. No task is late and no worker is stuck, so the monitor of the runtime has nothing to report. The
//! monitor of the pool shows the wait while it lasts, and a sample has all of it. Prints about:
//!
//! ```text
//! after 1 s: a task waits 0.0 s for a worker, a file 0.9 s for a thread of the pool
//! after 2 s: a task waits 0.0 s for a worker, a file 1.9 s for a thread of the pool
//! tokio::fs::metadata is done
//! the pool's sample: 2.9 s
//! ```

use std::error::Error;
use std::thread;
use std::time::Duration;

use loopmon::{BlockingPoolSampler, Monitor, SampleStreamExt};
use tokio::time::sleep;
use tokio_stream::StreamExt;

const SECOND: Duration = Duration::from_secs(1);

async fn fill_the_pool() -> Result<(), Box<dyn Error>> {
    let tasks = Monitor::builder().name("main").install()?;
    let pool = Monitor::builder()
        .name("blocking-pool")
        .sampler(BlockingPoolSampler::new())
        .install()?;
    let mut waits = pool.subscribe().lag_above(SECOND);

    for _ in 0..4 {
        tokio::task::spawn_blocking(|| thread::sleep(3 * SECOND));
    }
    let metadata = tokio::spawn(tokio::fs::metadata("."));
    for second in 1..=2 {
        sleep(SECOND).await;
        println!(
            "after {second} s: a task waits {:.1} s for a worker, a file {:.1} s for a thread of the pool",
            tasks.lag().as_secs_f64(),
            pool.lag().as_secs_f64(),
        );
    }
    metadata.await??;
    println!("tokio::fs::metadata is done");
    if let Some(sample) = waits.next().await {
        println!("the pool's sample: {:.1} s", sample.lag.as_secs_f64());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()?;
    runtime.block_on(fill_the_pool())
}
