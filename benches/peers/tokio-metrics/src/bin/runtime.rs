//! The runtime's metrics, read each 500 ms as tokio-metrics documents it. With Tokio's unstable histogram of poll
//! times, which shows that a poll was long.

use std::time::Duration;

use tokio::runtime::{Builder, HistogramConfiguration, LogHistogram, Runtime};
use tokio_metrics::RuntimeMonitor;
use workload::{Outcome, Peer, Place, Reports, THRESHOLD};

const FREQUENCY: Duration = Duration::from_millis(500);

struct Metrics;

impl Peer for Metrics {
    fn start(mut builder: Builder, reports: Reports) -> Outcome<(Runtime, Metrics)> {
        // user
        let scale = HistogramConfiguration::log(LogHistogram::default());
        builder
            .enable_metrics_poll_time_histogram()
            .metrics_poll_time_histogram_configuration(scale);
        let runtime = builder.build()?;
        let metrics = runtime.handle().metrics();
        let is_long =
            move |bucket| metrics.poll_time_histogram_bucket_range(bucket).start >= THRESHOLD;
        let monitor = RuntimeMonitor::new(runtime.handle());
        runtime.spawn(async move {
            for interval in monitor.intervals() {
                let buckets = interval.poll_time_histogram.iter().enumerate();
                let long: u64 = buckets
                    .filter(|(bucket, _)| is_long(*bucket))
                    .map(|(_, n)| n)
                    .sum();
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
        Ok((runtime, Metrics))
    }
}

fn main() -> Outcome<()> {
    workload::run::<Metrics>()
}
