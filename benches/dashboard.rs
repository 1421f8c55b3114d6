//! What does the live page cost?
//!
//! CPU is that of its thread, as the scheduler counts it: for each sample while nobody looks, and with ten pages
//! open that ask for what the page asks for. Then 1,000 connections that send garbage or nothing, in ten rounds:
//! does the memory stay, and how long does `/healthz` take meanwhile?
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures real time and starts threads"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use loopmon::Monitor;
use loopmon::dashboard::{Dashboard, Serving};
use tokio::runtime::Runtime;

const TURN: Duration = Duration::from_secs(5);

fn main() {
    println!("| runtimes | samples a second | pages | CPU of the thread | per sample |");
    println!("|---:|---:|---:|---:|---:|");
    for (runtimes, interval, pages) in [
        (1, 1, 0),
        (1, 100, 0),
        (1, 100, 10),
        (64, 100, 0),
        (64, 100, 10),
    ] {
        turn(runtimes, Duration::from_millis(interval), pages);
    }
    println!();
    println!("| connections before | resident memory | `/healthz` |");
    println!("|---:|---:|---:|");
    flood();
}

fn serve(monitors: &[Monitor]) -> Serving {
    let page = monitors
        .iter()
        .fold(Dashboard::new(), |page, monitor| page.monitor(monitor));
    page.bind(([127, 0, 0, 1], 0)).unwrap().start().unwrap()
}

fn monitors(runtime: &Runtime, count: usize, interval: Duration) -> Vec<Monitor> {
    let monitor = |_| {
        let monitor = Monitor::builder().interval(interval);
        monitor.install_on(runtime.handle()).unwrap()
    };
    (0..count).map(monitor).collect()
}

fn turn(count: usize, interval: Duration, pages: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let monitors = monitors(&runtime, count, interval);
    let page = serve(&monitors);
    let address = page.local_addr();
    for _ in 0..pages {
        thread::spawn(move || events(address));
        thread::spawn(move || asks(address));
    }
    sleep(Duration::from_secs(1));
    let before = page_cpu();
    sleep(TURN);
    let cpu = page_cpu() - before;
    let samples = count as f64 * TURN.as_secs_f64() / interval.as_secs_f64();
    let each = cpu * 1e6 / samples;
    let (share, rate) = (
        cpu / TURN.as_secs_f64() * 100.0,
        samples / TURN.as_secs_f64(),
    );
    println!("| {count} | {rate:.0} | {pages} | {share:.2} % | {each:.1} µs |");
    monitors.iter().for_each(Monitor::stop);
    drop(page);
    drop(runtime);
    let _ = loopmon::join_threads(Duration::from_secs(10));
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address)?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Reads events until the page is gone.
fn events(address: SocketAddr) {
    ask(address, "/events").ok();
}

/// Asks for what an open page asks for, until it is gone.
fn asks(address: SocketAddr) {
    for second in 0.. {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() - 1_000;
        let history = ask(address, &format!("/api/history?range=60&since={since}"));
        if second % 2 == 0 {
            ask(address, "/api/culprits").ok();
        }
        if history.is_err() {
            return;
        }
        sleep(Duration::from_secs(1));
    }
}

fn flood() {
    let page = serve(&[]);
    let address = page.local_addr();
    for round in 0..=10 {
        let began = Instant::now();
        let answer = ask(address, "/healthz").unwrap();
        assert!(answer.ends_with(b"ok\n"));
        let (millis, kib) = (began.elapsed().as_secs_f64() * 1e3, resident_kib());
        println!("| {} | {kib} KiB | {millis:.1} ms |", round * 1_000);
        let connections = (0..1_000).filter_map(|_| TcpStream::connect(address).ok());
        let mut connections: Vec<_> = connections.collect();
        for (index, connection) in connections.iter_mut().enumerate() {
            let garbage = vec![b'x'; index % 20_000];
            // It may be cut by now.
            connection
                .write_all(&garbage[..index % 3 * garbage.len() / 2])
                .ok();
        }
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Seconds.
fn page_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let run = |task: std::fs::DirEntry| -> Option<f64> {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        (name.trim() == "loopmon-page").then(|| stat.split(' ').next()?.parse().ok())?
    };
    tasks.filter_map(Result::ok).filter_map(run).sum::<f64>() / 1e9
}
