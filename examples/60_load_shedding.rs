//! A service that gets twice as many requests as it can answer, without load shedding and with it.
//!
//! Each request takes 5 ms of the one thread that serves, so 200 a second are possible. For three seconds, 400 a
//! second arrive, whether earlier ones were answered or not. Prints how many answers came within 100 ms, how many
//! requests were refused, and the 99th percentile of the time to an answer.
#![allow(clippy::disallowed_methods, reason = "an example reads the clock")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use loopmon::{Monitor, shed::ShedLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::{task::JoinSet, time::sleep_until};

async fn compute() {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5) {}
}

#[tokio::main(flavor = "current_thread")]
async fn serve(shed: bool, tell: Sender<SocketAddr>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let every = Duration::from_millis(10);
    let monitor = Monitor::builder().interval(every).install()?;
    let mut app = Router::new().route("/", get(compute));
    if shed {
        app = app.layer(ShedLayer::http(&monitor));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    tell.send(listener.local_addr()?)?;
    Ok(axum::serve(listener, app).await?)
}

/// Returns whether the request was served, and how long the answer took.
async fn request(address: SocketAddr, due: Instant) -> std::io::Result<(bool, Duration)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer.starts_with("HTTP/1.1 200"), due.elapsed()))
}

/// Prints what became of the requests. Returns how many were answered in time.
async fn load(address: SocketAddr, way: &str) -> usize {
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for number in 0..1_200 {
        let due = began + number * Duration::from_micros(2_500);
        sleep_until(due.into()).await;
        requests.spawn(request(address, due));
    }
    let answers: Vec<_> = requests.join_all().await.into_iter().flatten().collect();
    let served = answers.iter().filter(|(served, _)| *served);
    let mut millis: Vec<_> = served.map(|(_, took)| took.as_millis()).collect();
    millis.sort_unstable();
    let in_time = millis.partition_point(|took| *took <= 100);
    let refused = answers.len() - millis.len();
    let p99 = millis.get(millis.len() * 99 / 100).unwrap_or(&0);
    println!("{way}: {in_time} of 1200 within 100 ms, {refused} refused, p99 {p99} ms");
    in_time
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut in_time = [1, 0];
    for (shed, way) in ["without shedding", "with shedding"].iter().enumerate() {
        let (tell, address) = mpsc::channel();
        thread::spawn(move || serve(shed == 1, tell));
        in_time[shed] = load(address.recv()?, way).await;
    }
    println!("{} times as many in time", in_time[1] / in_time[0].max(1));
    Ok(())
}
