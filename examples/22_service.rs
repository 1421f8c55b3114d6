//! An axum service with a handler that blocks: it waits for a child process with the standard library.
//! Prints the stall while the handler still blocks, with the worker's thread and the system call, then the
//! answer to the request, and then the end of the stall.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use axum::{Router, routing::get};
use loopmon::{Monitor, Stall};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// For examples only: printing blocks while nobody reads the output. See `docs::operating`.
async fn print(stall: Stall) {
    println!("{stall}");
}

/// `tokio::process::Command` would not block the worker.
async fn report() -> &'static str {
    let child = Command::new("sleep").arg("0.3").status();
    match child.is_ok_and(|status| status.success()) {
        true => "done",
        false => "failed",
    }
}

async fn request(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /report HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Monitor::builder()
        .name("service")
        .stall_callback(print)
        .install()?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/report", get(report));
    tokio::spawn(async { axum::serve(listener, router).await });

    // A block right after `install` is reported without a cause: which thread runs which worker is not known yet.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = request(address).await?;
    println!("{}", answer.lines().last().unwrap_or_default());

    tokio::time::sleep(Duration::from_millis(100)).await;
    monitor.stop();
    monitor.stopped().await;
    Ok(())
}
