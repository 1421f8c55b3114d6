//! Detects a call that blocks the thread, and with it the event loop.
//!
//! Prints a line for each sample: one before the block, one that the block delays, one after it.
//! The lags are about 0.000, 1.000 and 0.000:
//!
//! ```text
//! event loop lag: 1.000, running tasks: 0, at 2026-11-22 15:29:40.766393+00:00
//! ```
//!
//! The block begins just before a sample is due. If it began earlier, the lag would be up to one interval
//! short, because the sample has to wait only from the moment at which it is due.

use std::thread;
use std::time::Duration;

use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(100);
const ALMOST_TWO_INTERVALS: Duration = Duration::from_millis(199);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    // For examples only: printing blocks while nobody reads the output. See `docs::operating`.
    let monitor = loopmon::create(INTERVAL, async |sample| println!("{sample}"))?;

    sleep(ALMOST_TWO_INTERVALS).await;
    // The mistake: `tokio::time::sleep` would have let other tasks run.
    thread::sleep(Duration::from_secs(1));
    sleep(ALMOST_TWO_INTERVALS).await;

    monitor.stop();
    Ok(())
}
