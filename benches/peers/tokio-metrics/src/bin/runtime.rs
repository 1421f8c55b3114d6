//! The runtime's metrics, read each 500 ms as tokio-metrics documents it. With Tokio's unstable histogram of poll
//! times, which shows that a poll was long.

use std::time::Duration;

use tokio::runtime::{Builder, Handle, HistogramConfiguration, LogHistogram, Runtime};
use tokio_metrics::{HistogramBucket, RuntimeMonitor};
use workload::{Outcome, Peer, Place, Reports, THRESHOLD};

const FREQUENCY: Duration = Duration::from_millis(500);

struct Metrics;

impl Peer for Metrics {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Metrics)> {
        // user
        let scale = HistogramConfiguration::log(LogHistogram::default());
        builder
            .enable_metrics_poll_time_histogram()
            .metrics_poll_time_histogram_configuration(scale);
        // end
        Ok((builder.build()?, Metrics))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        let monitor = RuntimeMonitor::new(&Handle::current());
        tokio::spawn(async move {
            for interval in monitor.intervals() {
                let buckets = interval.poll_time_histogram.buckets().iter();
                let long = buckets.filter(|bucket| bucket.range_start() >= THRESHOLD);
                let long: u64 = long.map(HistogramBucket::count).sum();
                if long > 0 {
                    reports.tell(
                        Place::Unknown,
                        format_args!("{long} polls over {THRESHOLD:?}"),
                    );
                }
                tokio::time::sleep(FREQUENCY).await;
            }
        });
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Metrics>()
}
