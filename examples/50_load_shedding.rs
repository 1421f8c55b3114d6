//! A service that gets twice as many requests as it can answer, without load shedding and with it.
//!
//! Each request takes 5 ms of the one thread that serves, so 200 a second are possible. For three seconds, 400 a
//! second arrive, whether earlier ones were answered or not. Prints how many answers came within 100 ms, how many
//! requests were refused, and the 99th percentile of the time to an answer.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use loopmon::{Monitor, shed::ShedLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const IN_TIME: Duration = Duration::from_millis(100);

async fn compute() -> &'static str {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5) {}
    "done"
}

async fn serve(
    shed: bool,
    tell: std::sync::mpsc::Sender<SocketAddr>,
) -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Monitor::builder()
        .interval(Duration::from_millis(10))
        .install()?;
    let app = Router::new().route("/", get(compute));
    let app = if shed {
        app.layer(ShedLayer::http(&monitor))
    } else {
        app
    };
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

async fn load(address: SocketAddr) -> (usize, usize, Duration) {
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for number in 0..1_200 {
        let due = began + number * Duration::from_micros(2_500);
        tokio::time::sleep_until(due.into()).await;
        requests.spawn(request(address, due));
    }
    let answers: Vec<_> = requests.join_all().await.into_iter().flatten().collect();
    let mut served: Vec<_> = answers.iter().filter(|(served, _)| *served).collect();
    served.sort_by_key(|(_, took)| *took);
    let in_time = served.partition_point(|(_, took)| *took <= IN_TIME);
    (
        in_time,
        answers.len() - served.len(),
        served[served.len() * 99 / 100].1,
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut all_in_time = Vec::new();
    for (shed, way) in [(false, "without"), (true, "with")] {
        let (tell, address) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::spawn(move || runtime.block_on(serve(shed, tell)).expect("it serves"));
        let (in_time, refused, p99) = load(address.recv()?).await;
        let millis = p99.as_millis();
        println!(
            "{way} shedding: {in_time} of 1200 within 100 ms, {refused} refused, p99 {millis} ms"
        );
        all_in_time.push(in_time);
    }
    println!(
        "{} times as many in time",
        all_in_time[1] / all_in_time[0].max(1)
    );
    Ok(())
}
