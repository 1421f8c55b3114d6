//! Prints a summary of the lag every second, for five seconds.
//!
//! In the third second a task blocks the thread for 300 ms. Samples are taken every 10 ms, so the block
//! is one sample of about 70; the percentiles still show how long tasks had to wait. Prints, with other
//! figures:
//!
//! ```text
//! event loop lag of 99 samples: min 0.000, mean 0.000, p50 0.000, p90 0.000, p99 0.000, p99.9 0.000, max 0.000, missed 0
//! event loop lag of 98 samples: min 0.000, mean 0.000, p50 0.000, p90 0.000, p99 0.001, p99.9 0.001, max 0.001, missed 0
//! event loop lag of 70 samples: min 0.000, mean 0.045, p50 0.000, p90 0.201, p99 0.291, p99.9 0.291, max 0.291, missed 0
//! event loop lag of 98 samples: min 0.000, mean 0.000, p50 0.000, p90 0.000, p99 0.003, p99.9 0.003, max 0.003, missed 0
//! event loop lag of 97 samples: min 0.000, mean 0.000, p50 0.000, p90 0.000, p99 0.003, p99.9 0.003, max 0.003, missed 0
//! ```

use std::time::Duration;

use loopmon::{Monitor, SampleStreamExt};
use tokio_stream::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    let monitor = Monitor::builder()
        .interval(Duration::from_millis(10))
        .install()?;
    let mut summaries = monitor
        .subscribe()
        .summarize(Duration::from_secs(1))
        .take(5);

    tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(2_400)).await;
        // Never do this in async code.
        std::thread::sleep(Duration::from_millis(300));
    });

    while let Some(summary) = summaries.next().await {
        println!("{summary}");
    }
    Ok(())
}
