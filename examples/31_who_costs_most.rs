//! Shows who costs most: a service has five endpoints that block in different ways. Nobody reads its stalls; the
//! account of culprits adds them up. Prints it as a table of 100 columns, by function, file and line, and what
//! tools for flame graphs read.
#![allow(clippy::disallowed_methods, reason = "it blocks by the clock")]

use std::error::Error;
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use loopmon::Monitor;
use tokio::task::{JoinError, JoinHandle};

static JOURNAL: Mutex<()> = Mutex::new(());

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn print_label() -> std::io::Result<()> {
    Command::new("sleep").arg("1.6").status().map(drop)
}

async fn price_order() {
    let began = Instant::now();
    while began.elapsed() < millis(800) {
        std::hint::black_box((1..10_000_u64).fold(1, u64::wrapping_mul));
    }
}

async fn await_payment() {
    let (paid, payment) = mpsc::channel();
    thread::spawn(move || {
        sleep(millis(400));
        paid.send(42)
    });
    payment.recv().ok();
}

async fn retry_order() {
    sleep(millis(100)); // twice: the endpoint is called two times
}

async fn log_order() {
    let other = thread::spawn(|| {
        let _held = JOURNAL.lock();
        sleep(millis(100));
    });
    sleep(millis(5)); // until the other thread has the lock
    drop(JOURNAL.lock());
    other.join().ok();
}

/// Two polls in a row that block would be one stall.
async fn rest_after<T>(endpoint: JoinHandle<T>) -> Result<T, JoinError> {
    let result = endpoint.await;
    tokio::time::sleep(millis(50)).await;
    result
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let monitor = Monitor::builder().stall_threshold(millis(50)).build()?;
    let _ = monitor.culprits(); // from now on, they are counted
    monitor.install()?;
    tokio::time::sleep(millis(100)).await; // until the monitor knows which thread runs which worker
    rest_after(tokio::spawn(print_label())).await??;
    rest_after(tokio::spawn(price_order())).await?;
    rest_after(tokio::spawn(await_payment())).await?;
    rest_after(tokio::spawn(retry_order())).await?;
    rest_after(tokio::spawn(retry_order())).await?;
    rest_after(tokio::spawn(log_order())).await?;
    tokio::time::sleep(millis(1_000)).await; // until the last stack is resolved
    println!("{:100}\n", monitor.culprits());
    print!("{}", monitor.culprits().folded());
    Ok(())
}
