//! Exports a service through OpenTelemetry over OTLP. A handler waits for a child process with the standard
//! library, so the whole service is stuck for a second. Prints the answer to the request:
//!
//! ```text
//! the report is done
//! ```
//!
//! The collector at `OTEL_EXPORTER_OTLP_ENDPOINT` (`http://localhost:4318` if not set) gets the rest: the
//! instruments, also while the service is stuck if `OTEL_METRIC_EXPORT_INTERVAL` is short enough, and the
//! stall as a span. Without a collector the SDK drops them.

use std::error::Error;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use axum::{Router, routing::get};
use loopmon::{Monitor, export::OpenTelemetry};
use opentelemetry::global;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{metrics::SdkMeterProvider, trace::SdkTracerProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// `tokio::process::Command` would not block the event loop.
async fn report() -> &'static str {
    let child = Command::new("sleep").arg("1").status();
    match child.is_ok_and(|status| status.success()) {
        true => "the report is done",
        false => "the report failed",
    }
}

async fn request(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /report HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Box<dyn Error>> {
    let monitor = Monitor::builder().name("service").build()?;
    let export = OpenTelemetry::new().start(&monitor)?;
    monitor.install()?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/report", get(report));
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    let answer = request(address).await?;
    println!("{}", answer.lines().last().unwrap_or_default());
    tokio::time::sleep(Duration::from_millis(100)).await;

    server.abort();
    monitor.stop();
    export.finish().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Both exporters send on threads of their own, and so does the blocking HTTP client.
    let metrics = MetricExporter::builder().with_http().build()?;
    let builder = SdkMeterProvider::builder();
    let meters = builder.with_periodic_exporter(metrics).build();
    global::set_meter_provider(meters.clone());
    let spans = SpanExporter::builder().with_http().build()?;
    let builder = SdkTracerProvider::builder();
    let tracers = builder.with_batch_exporter(spans).build();
    global::set_tracer_provider(tracers.clone());

    let served = serve();
    // Sends what is left. Without a collector it fails, which is no fault of the service.
    meters.shutdown().ok();
    tracers.shutdown().ok();
    served
}
