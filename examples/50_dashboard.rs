//! Serves the live page of two runtimes that stall in different ways, until Enter is pressed: open the address that
//! it prints. Asks the page itself whether all is well, while one of the runtimes is stuck.
#![allow(clippy::disallowed_methods, reason = "it blocks by the clock")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use loopmon::{Monitor, dashboard::Dashboard};
use tokio::runtime::Builder;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn price_orders() {
    let began = Instant::now();
    while began.elapsed() < millis(700) {
        std::hint::black_box((1..10_000_u64).fold(1, u64::wrapping_mul));
    }
}

async fn await_payment() {
    let (_never, payment) = mpsc::channel::<()>();
    payment.recv_timeout(millis(1_500)).ok();
}

async fn send_mail(monitor: Monitor) -> std::io::Result<()> {
    monitor.install().map_err(std::io::Error::other)?;
    loop {
        tokio::time::sleep(millis(4_000)).await;
        let connect = async { sleep(millis(2_500)) };
        monitor.instrument("connect", connect).await;
    }
}

fn ask(page: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(page)?;
    write!(
        connection,
        "GET /healthz HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(format!(
        "{}: {body}",
        head.lines().next().unwrap_or_default()
    ))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a service, a port of its own. Here any that is free, unless one is given.
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let monitor = |name| Monitor::builder().name(name).interval(millis(20)).build();
    let (shop, mail) = (monitor("shop")?, monitor("mail")?);
    let page = Dashboard::new()
        .monitor(&shop)
        .monitor(&mail)
        .unhealthy_after(millis(1_000))
        .bind(([127, 0, 0, 1], port))?
        .start()?;
    println!("http://{}", page.local_addr());

    thread::spawn(move || -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(send_mail(mail))
    });
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    shop.install_on(runtime.handle())?;
    runtime.spawn(async {
        loop {
            tokio::time::sleep(millis(300)).await;
            // Both workers. Now and then `mail` is stuck as well, so that nothing in the process runs but the page.
            tokio::spawn(await_payment());
            tokio::spawn(await_payment());
            tokio::time::sleep(millis(3_000)).await;
            tokio::spawn(price_orders());
        }
    });
    sleep(millis(1_600));
    print!("{}", ask(page.local_addr())?);
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
