//! Detects a computation without an `await`, which blocks the event loop.
//!
//! Prints a line for each sample: one before the computation, one that the computation delays, one after
//! it. The second lag is the time that the computation took, some hundredths of a second:
//!
//! ```text
//! event loop lag: 0.061, running tasks: 0, at 2026-11-22 15:29:40.766393+00:00
//! ```
//!
//! It begins just before a sample is due, so that the lag shows all of it.
//! `tokio::task::spawn_blocking` would not block the event loop.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(100);
const ALMOST_TWO_INTERVALS: Duration = Duration::from_millis(199);

fn fibonacci(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        fibonacci(n - 1) + fibonacci(n - 2)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    // For examples only: printing blocks while nobody reads the output. See `docs::operating`.
    let monitor = loopmon::create(INTERVAL, async |sample| println!("{sample}"))?;

    sleep(ALMOST_TWO_INTERVALS).await;
    black_box(fibonacci(black_box(35)));
    sleep(ALMOST_TWO_INTERVALS).await;

    monitor.stop();
    Ok(())
}
