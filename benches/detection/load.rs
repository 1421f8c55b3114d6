//! What runs on the runtimes: healthy load, and blocks of known length.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use loopmon::Place;
use tokio::runtime::{Builder, Handle, Runtime, worker_index};
use tokio::time::sleep;

pub(crate) fn runtime(workers: usize) -> Runtime {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_all();
    builder.build().expect("a runtime")
}

pub(crate) fn name(workers: usize) -> String {
    match workers {
        0 => "current_thread".to_owned(),
        _ => format!("{workers} workers"),
    }
}

/// The generator of MINSTD: the same blocks in every run.
#[derive(Clone, Copy)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        self.0 % bound
    }
}

pub(crate) fn spin(duration: Duration) {
    let began = Instant::now();
    while began.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Tasks of 20 µs each 25 ms or so.
pub(crate) fn short_tasks(runtime: &Handle, count: u64) {
    for seed in 1..=count {
        runtime.spawn(async move {
            let mut random = Random(seed);
            loop {
                sleep(Duration::from_micros(5_000 + random.below(40_000))).await;
                spin(Duration::from_micros(20));
            }
        });
    }
}

/// Tasks that do nothing but give way.
pub(crate) fn yields(runtime: &Handle, count: u64) {
    for _ in 0..count {
        runtime.spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
    }
}

/// What was done to a worker.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) began: Instant,
    pub(crate) began_at: DateTime<Utc>,
    pub(crate) lasted: Duration,
    pub(crate) spun: bool,
    pub(crate) place: Place,
    pub(crate) thread: Option<u32>,
}

/// Blocks its worker for 10 to 200 ms, half of them spinning, again and again.
pub(crate) async fn blocks(count: usize, seed: u64, told: Sender<Block>) {
    let mut random = Random(seed);
    for _ in 0..count {
        sleep(Duration::from_micros(30_000 + random.below(40_000))).await;
        let length = Duration::from_micros(10_000 + random.below(190_000));
        let spun = random.below(2) == 0;
        let place = worker_index().map_or(Place::RootFuture, Place::Worker);
        let thread = own_thread();
        let (began, began_at) = (Instant::now(), Utc::now());
        if spun {
            spin(length);
        } else {
            std::thread::sleep(length);
        }
        let block = Block {
            began,
            began_at,
            lasted: began.elapsed(),
            spun,
            place,
            thread,
        };
        told.send(block).expect("it is listened to");
    }
}

fn own_thread() -> Option<u32> {
    let path = std::fs::read_link("/proc/thread-self").ok()?;
    path.file_name()?.to_str()?.parse().ok()
}
