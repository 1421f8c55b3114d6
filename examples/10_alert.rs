//! Raises an alert when the average lag becomes too long, and clears it when the lag is short again.
//!
//! A task blocks the thread for a second. Prints, with other times:
//!
//! ```text
//! all is well
//! blocking the thread for a second
//! 10:00:02.001 alert raised: the average lag is 497 ms
//! 10:00:04.322 alert cleared: the average lag is 99 ms
//! ```

use std::time::Duration;

use loopmon::{Alert, Hysteresis, Monitor, Sample, SampleStreamExt};
use tokio_stream::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    let monitor = Monitor::builder()
        .interval(Duration::from_millis(10))
        .install()?;
    let thresholds = Hysteresis::new(Duration::from_millis(250), Duration::from_millis(100))?;
    let mut alerts = monitor
        .subscribe()
        .ewma(Duration::from_secs(1))
        .lag_alerts(thresholds);

    println!("all is well");
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("blocking the thread for a second");
        // Never do this in async code.
        std::thread::sleep(Duration::from_secs(1));
    });

    while let Some(alert) = alerts.next().await {
        match alert {
            Alert::Raised(sample) => report("raised", sample),
            Alert::Cleared(sample) => {
                report("cleared", sample);
                monitor.stop();
            }
        }
    }
    Ok(())
}

fn report(change: &str, sample: Sample) {
    println!(
        "{} alert {change}: the average lag is {} ms",
        sample.data_at.format("%H:%M:%S%.3f"),
        sample.lag.as_millis(),
    );
}
