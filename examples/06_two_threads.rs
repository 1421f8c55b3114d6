//! Monitors two runtimes on two threads, each by a monitor of its own.
//!
//! Both sample every second. The second runtime is blocked for 2 s. Only its own monitor reports that;
//! the main thread's monitor continues meanwhile. Prints four lines of the first and one of the second,
//! which differ in the lag:
//!
//! ```text
//! main: event loop lag: 0.000, running tasks: 0, at 2026-11-22 15:29:42.766393+00:00
//! other: event loop lag: 2.000, running tasks: 0, at 2026-11-22 15:29:43.266393+00:00
//! ```

use std::error::Error;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_secs(1);

async fn block() -> Result<(), loopmon::Error> {
    // For examples only: printing blocks while nobody reads the output. See `docs::operating`.
    loopmon::create(INTERVAL, async |sample| println!("other: {sample}"))?;
    // Until just before the first sample is due.
    sleep(INTERVAL - Duration::from_millis(1)).await;
    thread::sleep(2 * INTERVAL);
    sleep(INTERVAL / 2).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let monitor = loopmon::create(INTERVAL, async |sample| println!("main: {sample}"))?;

    // Half an interval later, so that the two do not print at the same time.
    sleep(INTERVAL / 2).await;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let other = thread::Builder::new()
        .name("other".to_owned())
        .spawn(move || runtime.block_on(block()))?;
    sleep(4 * INTERVAL).await;

    other.join().map_err(|_| "the other thread panicked")??;
    monitor.stop();
    Ok(())
}
