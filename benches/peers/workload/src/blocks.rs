//! Blocks of known length, at known places.

use std::fs;
use std::ops::RangeInclusive;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::load::Random;
use crate::{Outcome, Peer};

/// Three times the threshold, so that a heartbeat at an interval of the threshold sees each.
const LENGTH: Duration = Duration::from_millis(300);

/// What was done to a worker.
#[derive(Debug)]
pub struct Block {
    pub began: Instant,
    pub ended: Instant,
    pub worker: Option<usize>,
    pub thread: Option<u32>,
}

pub(crate) const FUNCTION: &str = "load_user";
pub(crate) const FILE: &str = "blocks.rs";
pub(crate) const LINES: RangeInclusive<u32> = BEGIN..=END;

const BEGIN: u32 = line!();
/// Blocks its worker. Its name and lines are what a report can tell.
#[inline(never)]
pub fn load_user(spins: bool, length: Duration) {
    let began = Instant::now();
    if !spins {
        std::thread::sleep(length);
    }
    while began.elapsed() < length {
        std::hint::spin_loop();
    }
}
const END: u32 = line!();

/// Blocks a worker again and again, with enough between for the slowest report. Every other block spins.
pub(crate) async fn run<P: Peer>(peer: &Arc<P>, count: usize) -> Outcome<Vec<Block>> {
    let (told, heard) = mpsc::channel();
    let blocking = peer.spawn(async move {
        // Until every peer knows this task: the console tells of it after up to two seconds.
        sleep(Duration::from_millis(2_500)).await;
        let mut random = Random(count as u64);
        for number in 0..count {
            sleep(Duration::from_millis(600 + random.below(300))).await;
            let (worker, thread) = (tokio::runtime::worker_index(), own_thread());
            let began = Instant::now();
            P::load_user(number % 2 == 1, LENGTH);
            let ended = Instant::now();
            told.send(Block {
                began,
                ended,
                worker,
                thread,
            })
            .expect("it is heard");
        }
    });
    blocking.await?;
    Ok(heard.into_iter().collect())
}

fn own_thread() -> Option<u32> {
    let path = fs::read_link("/proc/thread-self").ok()?;
    path.file_name()?.to_str()?.parse().ok()
}
