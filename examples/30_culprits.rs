//! Shows who blocks the runtime: a service has three endpoints that block in different ways, by writing
//! files under a lock, by computing, and by waiting on a channel of the standard library.
//! Prints each stall once, when it is over, with its cause, and with the function, file and line that
//! blocks.
#![allow(clippy::disallowed_methods, reason = "it blocks by the clock")]

use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use loopmon::{Monitor, Phase, Stalls};

static JOURNAL: Mutex<()> = Mutex::new(());

const A_WHILE: Duration = Duration::from_millis(600);

/// Prints only the last of several reports: those at the threshold and later ones are left out.
async fn print_end(stalls: &mut Stalls) {
    while let Some(stall) = stalls.next().await {
        if stall.phase == Phase::Ended {
            println!("{stall}");
            if let Some(trace) = &stall.trace {
                println!("{trace}\n");
            }
            return;
        }
    }
}

async fn save_order() -> std::io::Result<()> {
    let journal = JOURNAL.lock().unwrap_or_else(|poison| poison.into_inner());
    let name = format!("loopmon-journal-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
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
    let monitor = Monitor::builder().install()?;
    let mut stalls = monitor.stalls();
    // The monitor needs a moment to learn which thread runs which worker.
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::spawn(save_order()).await??;
    print_end(&mut stalls).await;
    tokio::spawn(price_order()).await?;
    print_end(&mut stalls).await;
    tokio::spawn(await_payment()).await??;
    print_end(&mut stalls).await;
    Ok(())
}
