//! What does it cost to publish a sample to readers that wait for it?
//!
//! 1 to 1,000 tasks on a `current_thread` runtime each wait for a sample, get it, and wait for the
//! next, which is published when all have had theirs. So each publication is one wake-up of the
//! publisher and one of every reader, whatever the channel. They take turns:
//!
//! - loopmon: a monitor whose sampler waits for the readers instead of a timer;
//! - async-broadcast, bare, with the same capacity and overflow, and tokio's broadcast: a task that
//!   does the same and sends a ready-made sample;
//! - async-broadcast with readings: the task also reads the clock and the runtime's metrics for each
//!   sample, as a monitor must. What loopmon takes beyond this is its own.
#![allow(
    clippy::disallowed_methods,
    reason = "clock.rs is for the crate itself: a bench has a clock of its own"
)]

#[path = "shared/figures.rs"]
mod figures;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use figures::Figures;
use loopmon::{Monitor, Sample, Sampler};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, broadcast};

/// How many samples are handed over in one turn, to all readers together.
const HANDED_OVER: usize = 40_000;
const ROUNDS: usize = 41;

/// Where the publisher waits for the readers.
#[derive(Default)]
struct Gate {
    readers: usize,
    served: AtomicUsize,
    all_served: Notify,
    /// Publications left before the turn is over.
    left: AtomicUsize,
    over: Notify,
}

impl Gate {
    fn new(readers: usize) -> Arc<Gate> {
        let gate = Gate {
            readers,
            ..Gate::default()
        };
        Arc::new(gate)
    }

    /// A reader has had its sample.
    fn served(&self, sample: &Sample) {
        assert_eq!(black_box(sample).missed, 0);
        if self.served.fetch_add(1, Ordering::Relaxed) + 1 == self.readers {
            self.served.store(0, Ordering::Relaxed);
            if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.over.notify_one();
            } else {
                self.all_served.notify_one();
            }
        }
    }

    /// The publisher waits for all readers to have had the last sample.
    async fn pass(&self) {
        self.all_served.notified().await;
    }

    /// Lets the publisher run until `publications` have been read by all.
    async fn time(&self, publications: usize) -> Duration {
        let began = Instant::now();
        self.left.store(publications, Ordering::Relaxed);
        self.all_served.notify_one();
        self.over.notified().await;
        began.elapsed()
    }
}

struct GateSampler(Arc<Gate>);

impl Sampler for GateSampler {
    async fn measure(&mut self, _: Duration) -> Duration {
        self.0.pass().await;
        Duration::ZERO
    }
}

fn loopmon(gate: &Arc<Gate>) -> Result<(), Box<dyn Error>> {
    let monitor = Monitor::builder()
        .sampler(GateSampler(Arc::clone(gate)))
        .install()?;
    for _ in 0..gate.readers {
        let (gate, mut samples) = (Arc::clone(gate), monitor.subscribe());
        tokio::spawn(async move {
            while let Some(sample) = samples.next().await {
                gate.served(&sample);
            }
        });
    }
    Ok(())
}

fn async_broadcast(gate: &Arc<Gate>, sample: impl Fn() -> Sample + Send + 'static) {
    let (mut sender, receiver) = async_broadcast::broadcast(Monitor::DEFAULT_CAPACITY);
    sender.set_overflow(true);
    for _ in 0..gate.readers {
        let (gate, mut samples) = (Arc::clone(gate), receiver.new_receiver());
        tokio::spawn(async move {
            while let Ok(sample) = samples.recv_direct().await {
                gate.served(&sample);
            }
        });
    }
    let gate = Arc::clone(gate);
    let inactive = receiver.deactivate();
    tokio::spawn(async move {
        loop {
            gate.pass().await;
            if sender.try_broadcast(sample()).is_err() {
                break;
            }
        }
        drop(inactive);
    });
}

fn tokio_broadcast(gate: &Arc<Gate>, sample: Sample) {
    let (sender, receiver) = broadcast::channel(Monitor::DEFAULT_CAPACITY);
    for _ in 0..gate.readers {
        let (gate, mut samples) = (Arc::clone(gate), receiver.resubscribe());
        tokio::spawn(async move {
            while let Ok(sample) = samples.recv().await {
                gate.served(&sample);
            }
        });
    }
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        loop {
            gate.pass().await;
            if sender.send(sample).is_err() {
                break;
            }
        }
    });
}

/// What a monitor reads for each sample, without what it does with it.
fn readings() -> impl Fn() -> Sample + Send + 'static {
    let metrics = Handle::current().metrics();
    move || {
        black_box((
            Instant::now(),
            tokio::time::Instant::now(),
            metrics.global_queue_depth(),
            metrics.worker_total_busy_duration(0),
        ));
        Sample::new(Duration::ZERO, metrics.num_alive_tasks(), Utc::now())
    }
}

#[derive(Clone, Copy)]
enum Channel {
    AsyncBroadcast,
    WithReadings,
    Loopmon,
    Tokio,
}

/// Nanoseconds for one publication.
fn turn(channel: Channel, readers: usize) -> Result<f64, Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let gate = Gate::new(readers);
        let ready_made = Sample::new(Duration::ZERO, 0, Utc::now());
        match channel {
            Channel::AsyncBroadcast => async_broadcast(&gate, move || ready_made),
            Channel::WithReadings => async_broadcast(&gate, readings()),
            Channel::Loopmon => loopmon(&gate)?,
            Channel::Tokio => tokio_broadcast(&gate, ready_made),
        }
        let publications = HANDED_OVER / readers;
        gate.time(publications / 10 + 1).await;
        let took = gate.time(publications).await;
        Ok(took.as_secs_f64() * 1e9 / publications as f64)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("ns for one publication to all readers; median [quartiles] of {ROUNDS} turns\n");
    println!(
        "{:>7} {:>24} {:>24} {:>18} {:>18} {:>18}",
        "readers",
        "bare async-broadcast",
        "loopmon",
        "over bare",
        "over readings",
        "tokio's over bare",
    );
    for readers in [1, 10, 100, 1_000] {
        let mut turns = Vec::new();
        for _ in 0..ROUNDS {
            turns.push([
                turn(Channel::AsyncBroadcast, readers)?,
                turn(Channel::WithReadings, readers)?,
                turn(Channel::Loopmon, readers)?,
                turn(Channel::Tokio, readers)?,
            ]);
        }
        let bare: Figures = turns.iter().map(|turn| turn[0]).collect();
        let ours: Figures = turns.iter().map(|turn| turn[2]).collect();
        let over_bare: Figures = turns.iter().map(|turn| turn[2] / turn[0]).collect();
        let over_readings: Figures = turns.iter().map(|turn| turn[2] / turn[1]).collect();
        let tokios: Figures = turns.iter().map(|turn| turn[3] / turn[0]).collect();
        println!(
            "{readers:>7} {bare:>24.0} {ours:>24.0} {over_bare:>18.2} {over_readings:>18.2} {tokios:>18.2}",
        );
    }
    Ok(())
}
