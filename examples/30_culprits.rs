//! Who blocks the runtime: a service with three endpoints, each of which blocks in its own way, by
//! writing files under a lock, by computing, and by waiting for a channel of the standard library.
//! Prints each stall once, when it is over, with its cause, and with the function, file and line that
//! are to blame.
#![allow(clippy::disallowed_methods, reason = "it blocks by the clock")]

use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use loopmon::{Monitor, Phase, Stall};

static JOURNAL: Mutex<()> = Mutex::new(());

const A_WHILE: Duration = Duration::from_millis(600);

async fn print(stall: Stall) {
    // Told at the threshold, while it goes on, and at the end: once is enough here.
    if stall.phase != Phase::Ended {
        return;
    }
    println!("{stall}");
    if let Some(trace) = &stall.trace {
        println!("{trace}\n");
    }
}

async fn save_order() -> std::io::Result<()> {
    let journal = JOURNAL.lock().unwrap_or_else(|poison| poison.into_inner());
    let path = std::env::temp_dir().join("loopmon-journal");
    let mut file = std::fs::File::create(&path)?;
    let began = Instant::now();
    while began.elapsed() < A_WHILE {
        file.write_all(&[0; 4096])?;
        file.sync_all()?;
    }
    drop(journal);
    std::fs::remove_file(path)
}

async fn price_order() -> u64 {
    let began = Instant::now();
    let mut price = 1;
    while began.elapsed() < A_WHILE {
        price = (1..10_000).fold(price, |price: u64, factor| price.wrapping_mul(factor) | 1);
    }
    price
}

async fn await_payment() -> Result<u32, mpsc::RecvError> {
    let (paid, payment) = mpsc::channel();
    std::thread::spawn(move || {
        std::thread::sleep(A_WHILE);
        paid.send(42)
    });
    payment.recv()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Monitor::builder().stall_callback(print).install()?;
    // The monitor needs a moment to meet all workers, and to see that a stall is over.
    let pause = || tokio::time::sleep(Duration::from_millis(100));
    pause().await;
    tokio::spawn(save_order()).await??;
    pause().await;
    tokio::spawn(price_order()).await?;
    pause().await;
    tokio::spawn(await_payment()).await??;
    pause().await;

    monitor.stop();
    monitor.stopped().await;
    Ok(())
}
