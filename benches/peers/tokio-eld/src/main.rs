//! The histogram of tokio-eld at the 20 ms of its example. What reads it is ours, as it has none: a task looks at the
//! largest delay and resets, as users of Node's `monitorEventLoopDelay` do.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_eld::EldHistogram;
use workload::{INTERVAL, Outcome, Peer, Place, Reports, THRESHOLD};

const RESOLUTION_MS: usize = 20;

struct Eld;

impl Peer for Eld {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Eld)> {
        Ok((builder.build()?, Eld))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        let delays = EldHistogram::<u64>::new(RESOLUTION_MS)?;
        delays.start();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let longest = Duration::from_nanos(delays.max());
                if longest >= THRESHOLD {
                    reports.tell(
                        Place::Unknown,
                        format_args!("the event loop was {longest:?} late"),
                    );
                }
                delays.reset();
            }
        });
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Eld>()
}
