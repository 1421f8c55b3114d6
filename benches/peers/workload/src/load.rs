//! Loads that keep a runtime busy, and one that is as it should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::{Outcome, Peer};

const YIELDING_TASKS: usize = 1_000;
const SPAWNED_AT_ONCE: usize = 64;
const ECHO_CLIENTS: usize = 16;
const ECHO_BYTES: usize = 64;
const SHORT_TASKS: u64 = 200;

#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// 1,000 tasks that count and yield.
    Yield,
    /// A task a worker that spawns 64 empty tasks and awaits them, again and again.
    Spawn,
    /// 16 connections over loopback, both ends on the runtime: 64 bytes there and back.
    Echo,
}

/// One count for each task that counts.
pub(crate) struct Counts(Vec<Arc<Count>>);

/// On a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl Count {
    fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Counts {
    fn new(tasks: usize) -> Counts {
        Counts((0..tasks).map(|_| Arc::default()).collect())
    }

    pub(crate) fn total(&self) -> u64 {
        let counts = self.0.iter();
        counts.map(|count| count.0.load(Ordering::Relaxed)).sum()
    }
}

impl Load {
    pub(crate) fn named(name: &str) -> Option<Load> {
        match name {
            "yield" => Some(Load::Yield),
            "spawn" => Some(Load::Spawn),
            "echo" => Some(Load::Echo),
            _ => None,
        }
    }

    pub(crate) async fn start<P: Peer>(self, peer: &Arc<P>, workers: usize) -> Outcome<Counts> {
        match self {
            Load::Yield => Ok(yields(peer)),
            Load::Spawn => Ok(spawns(peer, workers)),
            Load::Echo => echo(peer).await,
        }
    }
}

fn yields<P: Peer>(peer: &Arc<P>) -> Counts {
    let counts = Counts::new(YIELDING_TASKS);
    for count in &counts.0 {
        let count = Arc::clone(count);
        peer.spawn(async move {
            loop {
                count.add(1);
                tokio::task::yield_now().await;
            }
        });
    }
    counts
}

fn spawns<P: Peer>(peer: &Arc<P>, workers: usize) -> Counts {
    let counts = Counts::new(workers);
    for count in &counts.0 {
        let (count, inside) = (Arc::clone(count), Arc::clone(peer));
        peer.spawn(async move {
            let mut tasks = Vec::with_capacity(SPAWNED_AT_ONCE);
            loop {
                tasks.extend((0..SPAWNED_AT_ONCE).map(|_| inside.spawn(async {})));
                for task in tasks.drain(..) {
                    // Fails only when the runtime shuts down.
                    task.await.ok();
                }
                count.add(SPAWNED_AT_ONCE);
            }
        });
    }
    counts
}

async fn echo<P: Peer>(peer: &Arc<P>) -> Outcome<Counts> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let counts = Counts::new(ECHO_CLIENTS);
    for count in &counts.0 {
        let count = Arc::clone(count);
        let client = TcpStream::connect(address).await?;
        let (server, _) = listener.accept().await?;
        peer.spawn(async move { answer(server).await.expect("the client goes on") });
        peer.spawn(async move { ask(client, &count).await.expect("the server goes on") });
    }
    Ok(counts)
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; ECHO_BYTES];
    loop {
        stream.read_exact(&mut bytes).await?;
        stream.write_all(&bytes).await?;
    }
}

async fn ask(mut stream: TcpStream, count: &Count) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; ECHO_BYTES];
    loop {
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
        count.add(1);
    }
}

/// The generator of MINSTD: the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        self.0 % bound
    }
}

/// Tasks of 20 µs each 25 ms or so: healthy load, a fifth of one core.
pub(crate) fn short_tasks<P: Peer>(peer: &Arc<P>) {
    for seed in 1..=SHORT_TASKS {
        peer.spawn(async move {
            let mut random = Random(seed);
            loop {
                sleep(Duration::from_micros(5_000 + random.below(40_000))).await;
                let began = Instant::now();
                while began.elapsed() < Duration::from_micros(20) {
                    std::hint::spin_loop();
                }
            }
        });
    }
}
