//! Shows that sampling never waits for a callback, and that a slow callback's calls overlap.
//!
//! Takes a sample every second for 5 s. One callback prints it; the other takes 2 s, from `begins`
//! to `ends`, and is called again before it is done:
//!
//! ```text
//! event loop lag: 0.000, running tasks: 0, at 2026-11-22 15:29:40.766393+00:00
//! slow call 1 begins
//! event loop lag: 0.000, running tasks: 0, at 2026-11-22 15:29:41.766393+00:00
//! slow call 2 begins
//! slow call 1 ends
//! event loop lag: 0.000, running tasks: 0, at 2026-11-22 15:29:42.766393+00:00
//! ```
//!
//! Calls that are in flight when the monitor stops continue, and `stopped` waits for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loopmon::Sample;
use tokio::time::sleep;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// For examples only: printing blocks while nobody reads the output. See `docs::operating`.
async fn print(sample: Sample) {
    println!("{sample}");
}

async fn slow(_: Sample) {
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    println!("slow call {call} begins");
    sleep(Duration::from_secs(2)).await;
    println!("slow call {call} ends");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    let monitor = loopmon::create(Duration::from_secs(1), (print, slow))?;
    sleep(Duration::from_secs(5)).await;
    monitor.stop();
    monitor.stopped().await;
    Ok(())
}
