//! The workload that every peer gets, and the program around it. `turns.py` runs it:
//!
//! ```text
//! PEER throughput yield|spawn|echo WORKERS SECONDS
//! PEER stalls WORKERS COUNT
//! PEER healthy WORKERS SECONDS
//! PEER idle WORKERS SECONDS
//! ```
//!
//! 0 workers are a `current_thread` runtime. What is printed is for `turns.py`, too: `NAME VALUE…` a line.

mod blocks;
mod load;
mod reports;

use std::env;
use std::error::Error;
use std::future::Future;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub use blocks::{Block, load_user};
pub use reports::{Place, Reports};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// What counts as a stall, for every peer that can be told.
pub const THRESHOLD: Duration = Duration::from_millis(100);

/// How often a peer samples that samples, unless its documentation has another value.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// Until a peer has started, and the load runs at its pace.
const WARM_UP: Duration = Duration::from_millis(500);

/// Until the slowest report of the last block has come.
const COOL_DOWN: Duration = Duration::from_millis(1_500);

/// What runs the workload: a runtime with a peer on it.
pub trait Peer: Send + Sync + Sized + 'static {
    /// Builds the runtime, and what of the peer must be there first.
    fn build(builder: Builder) -> Outcome<(Runtime, Self)>;

    /// Starts the peer, inside `block_on`.
    fn start(&self, _reports: Reports) -> Outcome<()> {
        Ok(())
    }

    /// Spawns a task as users of the peer do.
    #[track_caller]
    fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(task)
    }

    /// Blocks its worker: [`load_user`], marked as the peer wants it.
    fn load_user(spins: bool, length: Duration) {
        load_user(spins, length);
    }

    /// Tells what is known only now that the program ends.
    fn finish(&self, _runtime: Runtime, _reports: &Reports) -> Outcome<()> {
        Ok(())
    }
}

/// The `main` of a peer.
pub fn run<P: Peer>() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["throughput", load, workers, seconds] => {
            let load = load::Load::named(load).ok_or("no such load")?;
            throughput::<P>(load, workers.parse()?, self::seconds(seconds)?)?;
        }
        ["stalls", workers, count] => stalls::<P>(workers.parse()?, count.parse()?)?,
        ["healthy", workers, seconds] => healthy::<P>(workers.parse()?, self::seconds(seconds)?)?,
        ["idle", workers, seconds] => idle::<P>(workers.parse()?, self::seconds(seconds)?)?,
        _ => return Err("see workload/src/lib.rs for the arguments".into()),
    }
    // Some peers keep threads that nothing ends, or print once more.
    process::exit(0)
}

fn seconds(text: &str) -> Outcome<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

fn build<P: Peer>(workers: usize) -> Outcome<(Runtime, Arc<P>)> {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_all();
    let (runtime, peer) = P::build(builder)?;
    Ok((runtime, Arc::new(peer)))
}

fn throughput<P: Peer>(load: load::Load, workers: usize, length: Duration) -> Outcome<()> {
    let (reports, _heard) = reports::channel();
    let (runtime, peer) = build::<P>(workers)?;
    let rate = runtime.block_on(async {
        peer.start(reports)?;
        let counts = load.start(&peer, workers.max(1)).await?;
        sleep(WARM_UP).await;
        let (began, before) = (Instant::now(), counts.total());
        sleep(length).await;
        Outcome::Ok((counts.total() - before) as f64 / began.elapsed().as_secs_f64())
    })?;
    println!("rate {rate:.1}");
    Ok(())
}

fn stalls<P: Peer>(workers: usize, count: usize) -> Outcome<()> {
    let (reports, heard) = reports::channel();
    let (runtime, peer) = build::<P>(workers)?;
    let blocks = runtime.block_on(async {
        peer.start(reports.clone())?;
        load::short_tasks(&peer);
        sleep(WARM_UP).await;
        let blocks = blocks::run(&peer, count).await;
        sleep(COOL_DOWN).await;
        blocks
    })?;
    peer.finish(runtime, &reports)?;
    reports::judge(&blocks, &heard.try_iter().collect::<Vec<_>>());
    Ok(())
}

fn healthy<P: Peer>(workers: usize, length: Duration) -> Outcome<()> {
    let (reports, heard) = reports::channel();
    let (runtime, peer) = build::<P>(workers)?;
    runtime.block_on(async {
        peer.start(reports.clone())?;
        load::short_tasks(&peer);
        sleep(WARM_UP).await;
        println!("ready");
        sleep(length).await;
        Outcome::Ok(())
    })?;
    peer.finish(runtime, &reports)?;
    reports::judge(&[], &heard.try_iter().collect::<Vec<_>>());
    Ok(())
}

/// What it costs is measured from outside.
fn idle<P: Peer>(workers: usize, length: Duration) -> Outcome<()> {
    let (reports, _heard) = reports::channel();
    let (runtime, peer) = build::<P>(workers)?;
    runtime.block_on(async {
        peer.start(reports)?;
        sleep(COOL_DOWN).await;
        println!("ready");
        sleep(length).await;
        Ok(())
    })
}
