//! The console's layer, and beside it a client in a process of its own, which reads what `tokio-console` shows: which
//! task is in a poll since when. It publishes each 100 ms instead of each second.

mod client;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use workload::{INTERVAL, Outcome, Peer, Place, Reports};

/// On a port.
struct Console(u16);

impl Peer for Console {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Console)> {
        // A free one, as two may run at once.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // user
        console_subscriber::ConsoleLayer::builder()
            .publish_interval(INTERVAL)
            .server_addr(([127, 0, 0, 1], port))
            .init();
        // end
        Ok((builder.build()?, Console(port)))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // Nobody watches in the long run, so what it costs is measured without.
        if matches!(env::args().nth(1).as_deref(), Some("stalls" | "healthy")) {
            watch(self.0, reports)?;
        }
        Ok(())
    }
}

/// Starts the client, and hears what it prints.
fn watch(port: u16, reports: Reports) -> Outcome<()> {
    let mut client = Command::new(env::current_exe()?)
        .args(["watch", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(client.stdout.take().ok_or("it has an output")?).lines();
    // Once it is connected.
    lines.next().ok_or("it does not connect")??;
    thread::Builder::new().spawn(move || {
        for line in lines.map_while(Result::ok) {
            reports.tell(Place::Unknown, line);
        }
    })?;
    Ok(())
}

fn main() -> Outcome<()> {
    if let Some(port) = env::args()
        .skip_while(|argument| argument != "watch")
        .nth(1)
    {
        return client::run(port.parse()?);
    }
    workload::run::<Console>()
}
