//! Monitors the runtime and prints each sample.
//!
//! Prints a line every 0.5 s for 5 s, nine or ten in all. Nothing blocks the event loop, so the lag
//! stays near zero:
//!
//! ```text
//! event loop lag: 0.000, running tasks: 0, at 2026-11-22 15:29:40.766393+00:00
//! ```
//!
//! Tokio does not count `main` as a task, and loopmon's own tasks are left out: so there are none.
//!
//! Printing blocks while nobody reads the output, and this callback prints on the runtime itself. A
//! service sends its samples to something that cannot block: see `docs::operating`.

use std::time::Duration;

use loopmon::Sample;

async fn print(sample: Sample) {
    println!("{sample}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    let monitor = loopmon::create(Duration::from_millis(500), print)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    monitor.stop();
    Ok(())
}
