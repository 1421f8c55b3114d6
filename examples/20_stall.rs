//! Reports a stall and its cause while it lasts: a task blocks its `current_thread` runtime for a second.
//! Prints the stall five times: when it passes the threshold of 100 ms, at twice, four times and eight
//! times that, and when it is over. Then the same for a long computation.

use std::time::Duration;

use loopmon::{Monitor, Stall};

/// For examples only: printing blocks while nobody reads the output. See `docs::operating`.
async fn print(stall: Stall) {
    println!("{stall}");
}

fn fibonacci(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        fibonacci(n - 1) + fibonacci(n - 2)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    let monitor = Monitor::builder().stall_callback(print).install()?;

    std::thread::sleep(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(100)).await;

    println!("fibonacci(41) is {}", fibonacci(41));
    tokio::time::sleep(Duration::from_millis(100)).await;

    monitor.stop();
    monitor.stopped().await;
    Ok(())
}
