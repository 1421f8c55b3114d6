//! The usual heartbeat: a task that sleeps, and looks how late it wakes. Re-created: many services have one like it.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use workload::{INTERVAL, Outcome, Peer, Place, Reports, THRESHOLD};

struct Heartbeat;

impl Peer for Heartbeat {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Heartbeat)> {
        Ok((builder.build()?, Heartbeat))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        tokio::spawn(async move {
            loop {
                let due = Instant::now() + INTERVAL;
                tokio::time::sleep(INTERVAL).await;
                let lag = due.elapsed();
                if lag >= THRESHOLD {
                    reports.tell(
                        Place::Unknown,
                        format_args!("the event loop is {lag:?} late"),
                    );
                }
            }
        });
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Heartbeat>()
}
