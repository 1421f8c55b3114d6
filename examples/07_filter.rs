//! Reads the samples as a stream, with the adapters of any stream crate.
//!
//! Samples are taken every 0.1 s, for 2 s, and the event loop is blocked for 0.2, 0.4 and 0.6 s.
//! Prints only the samples whose lag is above 0.3 s, so two of a dozen:
//!
//! ```text
//! late: event loop lag: 0.400, running tasks: 1, at 2026-11-22 15:29:40.766393+00:00
//! late: event loop lag: 0.600, running tasks: 1, at 2026-11-22 15:29:41.466393+00:00
//! ```
//!
//! The running task is the reader. The stream ends when the monitor stops.

use std::error::Error;
use std::thread;
use std::time::Duration;

use tokio::time::sleep;
use tokio_stream::StreamExt;

const INTERVAL: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let monitor = loopmon::create(INTERVAL, ())?;

    let mut late = monitor
        .subscribe()
        .filter(|sample| sample.lag > Duration::from_millis(300));
    let reader = tokio::spawn(async move {
        while let Some(sample) = late.next().await {
            println!("late: {sample}");
        }
    });

    let mut samples = monitor.subscribe();
    for blocked in [2, 4, 6] {
        samples.next().await;
        // Just before the next sample is due.
        sleep(INTERVAL - Duration::from_millis(2)).await;
        thread::sleep(blocked * INTERVAL);
    }
    sleep(5 * INTERVAL).await;

    monitor.stop();
    reader.await?;
    Ok(())
}
