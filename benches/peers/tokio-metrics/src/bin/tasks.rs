//! Every task instrumented, as tokio-metrics documents it, with its slow polls read each 500 ms.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_metrics::TaskMonitor;
use workload::{Outcome, Peer, Place, Reports, THRESHOLD};

const FREQUENCY: Duration = Duration::from_millis(500);

struct Tasks(TaskMonitor);

impl Peer for Tasks {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Tasks)> {
        let runtime = builder.build()?;
        // user
        let monitor = TaskMonitor::with_slow_poll_threshold(THRESHOLD);
        // end
        Ok((runtime, Tasks(monitor)))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        let intervals = self.0.intervals();
        tokio::spawn(async move {
            for interval in intervals {
                if interval.total_slow_poll_count > 0 {
                    let (count, mean) = (
                        interval.total_slow_poll_count,
                        interval.mean_slow_poll_duration(),
                    );
                    reports.tell(
                        Place::Unknown,
                        format_args!("{count} slow polls of {mean:?}"),
                    );
                }
                tokio::time::sleep(FREQUENCY).await;
            }
        });
        // end
        Ok(())
    }

    #[track_caller]
    fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // user
        tokio::spawn(self.0.instrument(task))
        // end
    }
}

fn main() -> Outcome<()> {
    workload::run::<Tasks>()
}
