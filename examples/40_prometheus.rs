//! A service that Prometheus scrapes, and whose metrics show that it is stuck while it is stuck.
//!
//! It exports two runtimes: `main`, which blocks for four seconds, and `workers`, which is idle. While `main`
//! is stuck, the example scrapes the endpoint as Prometheus would. Prints the address, and the metrics of
//! stalls in progress:
//!
//! ```text
//! http://127.0.0.1:44371/metrics
//! loopmon_stall_in_progress_seconds{monitor="main"} 2.904012439
//! loopmon_stall_in_progress_seconds{monitor="workers"} 0
//! ```
//!
//! `40_prometheus 127.0.0.1:9000 12` listens on that address and runs for ever: it idles for three seconds,
//! then blocks for 12, and so on.

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use loopmon::{Monitor, export::Metrics};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

// Called inside the runtime, so that its stalls are reported while they last.
async fn export(name: &str) -> Result<(), loopmon::Error> {
    let monitor = Monitor::builder().name(name).install()?;
    Metrics::new().start(&monitor)?;
    Ok(())
}

fn print_stalls(address: SocketAddr, after: Duration) {
    thread::sleep(after);
    let mut stream = TcpStream::connect(address).expect("the endpoint is there");
    let mut answer = String::new();
    let request = b"GET /metrics HTTP/1.0\r\n\r\n";
    stream.write_all(request).expect("it reads");
    stream.read_to_string(&mut answer).expect("it answers");
    let mut lines: Vec<_> = answer.lines().collect();
    lines.retain(|line| line.starts_with("loopmon_stall_in_progress_seconds{"));
    lines.sort_unstable();
    println!("{}", lines.join("\n"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let (address, seconds, for_ever) = match (env::args().nth(1), env::args().nth(2)) {
        (Some(address), Some(seconds)) => (address.parse()?, seconds.parse()?, true),
        // Any free port.
        _ => (TcpListener::bind("127.0.0.1:0")?.local_addr()?, 4, false),
    };
    let lag = Matcher::Full("loopmon_lag_seconds".to_owned());
    // Before there is a runtime, so that the endpoint gets a thread of its own.
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(lag, Metrics::BUCKETS)?
        .install()?;
    println!("http://{address}/metrics");

    let workers = Runtime::new()?;
    workers.block_on(export("workers"))?;
    let main = Builder::new_current_thread().enable_all().build()?;
    main.block_on(async {
        export("main").await?;
        loop {
            sleep(Duration::from_secs(3)).await;
            let blocked = Duration::from_secs(seconds);
            thread::scope(|scope| {
                scope.spawn(|| print_stalls(address, blocked * 3 / 4));
                thread::sleep(blocked);
            });
            if !for_ever {
                return Ok(());
            }
        }
    })
}
