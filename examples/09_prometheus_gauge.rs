//! Sets gauges from a callback, and serves them to Prometheus.
//!
//! Blocks the event loop for 1 s, then scrapes its own endpoint, as Prometheus would, and prints the
//! answer: the newest sample, in seconds.
//!
//! ```text
//! # HELP event_loop_lag_seconds How late the newest sample was.
//! # TYPE event_loop_lag_seconds gauge
//! event_loop_lag_seconds 1.000412
//! # HELP event_loop_tasks Live tasks.
//! # TYPE event_loop_tasks gauge
//! event_loop_tasks 1
//! # EOF
//! ```
//!
//! A gauge shows only the newest sample: it does not show what happens between two scrapes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(500);
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let lag = Gauge::<f64, AtomicU64>::default();
    let tasks = Gauge::<i64>::default();
    let mut registry = Registry::default();
    registry.register(
        "event_loop_lag_seconds",
        "How late the newest sample was",
        lag.clone(),
    );
    registry.register("event_loop_tasks", "Live tasks", tasks.clone());

    let monitor = loopmon::create(INTERVAL, move |sample: loopmon::Sample| {
        lag.set(sample.lag.as_secs_f64());
        tasks.set(sample.tasks as i64);
        async {}
    })?;

    let registry = Arc::new(registry);
    let metrics = move || async move {
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|error| error.to_string())?;
        Ok::<_, String>(([(CONTENT_TYPE, FORMAT)], text))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/metrics", get(metrics));
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    sleep(INTERVAL - Duration::from_millis(1)).await;
    thread::sleep(Duration::from_secs(1));
    monitor.subscribe().next().await;

    let mut scrape = TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.0\r\n\r\n";
    scrape.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    scrape.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    print!("{body}");

    server.abort();
    Ok(())
}
