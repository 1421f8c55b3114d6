//! The histogram of tokio-eld at the 20 ms of its example. What reads it is ours, as it has none: a task looks at the
//! largest delay and resets, as users of Node's `monitorEventLoopDelay` do.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_eld::EldHistogram;
use workload::{INTERVAL, Outcome, Peer, Place, Reports, THRESHOLD};

const RESOLUTION_MS: usize = 20;

struct Eld;

impl Peer for Eld {
    fn start(mut builder: Builder, reports: Reports) -> Outcome<(Runtime, Eld)> {
        let runtime = builder.build()?;
        // user
        let mut delays = EldHistogram::<u64>::new(RESOLUTION_MS)?;
        let _inside = runtime.enter();
        delays.start();
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let longest = Duration::from_nanos(delays.max());
                if longest >= THRESHOLD {
                    reports.tell(Place::Unknown, format_args!("the event loop was {longest:?} late"));
                }
                delays.reset();
            }
        });
        // end
        Ok((runtime, Eld))
    }
}

fn main() -> Outcome<()> {
    workload::run::<Eld>()
}
