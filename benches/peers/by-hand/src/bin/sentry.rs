//! A heartbeat with a thread that waits for it, as Sentry's SDK for Node.js detects "application not responding".
//! Re-created for Tokio, with its beat of 50 ms and its look each 20 ms, but with our threshold: its own is 5 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use workload::{Outcome, Peer, Place, Reports, THRESHOLD};

const BEAT: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(20);

struct Sentry;

impl Peer for Sentry {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Sentry)> {
        Ok((builder.build()?, Sentry))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        let start = Instant::now();
        let beat_at = Arc::new(AtomicU64::new(0));
        let beats = Arc::clone(&beat_at);
        tokio::spawn(async move {
            loop {
                beats.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
                tokio::time::sleep(BEAT).await;
            }
        });
        thread::Builder::new().spawn(move || {
            let mut is_told = false;
            loop {
                thread::sleep(LOOK);
                let beat_at = Duration::from_millis(beat_at.load(Ordering::Relaxed));
                let is_late = start.elapsed().saturating_sub(beat_at) > BEAT + THRESHOLD;
                if is_late && !is_told {
                    reports.tell(Place::Unknown, "the runtime does not respond");
                }
                is_told = is_late;
            }
        })?;
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Sentry>()
}
