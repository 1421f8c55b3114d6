//! A thread that spawns an empty task and waits for it, in the manner of the `LongRunningTaskDetector` of Meta's
//! `tokio-detectors`. Re-created, with the values of its example: at most 10 ms between probes, 100 ms to answer.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use workload::{Outcome, Peer, Place, Reports, THRESHOLD};

/// Theirs is a random pause of up to 10 ms.
const PAUSES: [u64; 5] = [7, 2, 9, 4, 3];

struct Probe;

impl Peer for Probe {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Probe)> {
        Ok((builder.build()?, Probe))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        let handle = Handle::current();
        thread::Builder::new().spawn(move || {
            for pause in PAUSES.into_iter().cycle() {
                let (answer, answered) = mpsc::channel();
                handle.spawn(async move { answer.send(()) });
                if answered.recv_timeout(THRESHOLD).is_err() {
                    reports.tell(Place::Unknown, "no worker takes a task");
                    // Until one does.
                    answered.recv().ok();
                }
                thread::sleep(Duration::from_millis(pause));
            }
        })?;
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Probe>()
}
