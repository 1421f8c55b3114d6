//! Writes stalls to the log: the console subscriber of `tracing` prints a blocking call when it passes the
//! threshold, while it lasts, and when it is over, in lines such as
//!
//! `WARN loopmon::stall: worker stalled monitor="main" worker=0 … cause="blocked" …`
//!
//! With the `stack` feature, the stack follows each line, shortened in the middle if it is long.
//!
//! This subscriber blocks while nobody reads the output, and then logs nothing; a service needs one that
//! drops lines instead. See `docs::operating`.

use std::time::Duration;

use loopmon::Monitor;
use loopmon::export::Tracing;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), loopmon::Error> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .init();

    let monitor = Monitor::builder().name("main").install()?;
    let export = Tracing::new().start(&monitor)?;

    std::thread::sleep(Duration::from_millis(300));
    tokio::time::sleep(Duration::from_millis(100)).await;
    tracing::info!("the service goes on");

    monitor.stop();
    export.finish().await;
    Ok(())
}
