//! A live page of all monitors, served by a thread of loopmon's own: it answers while every runtime of the process
//! is stuck.
//!
//! ```no_run
//! use loopmon::{Monitor, dashboard::Dashboard};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), loopmon::Error> {
//! let monitor = Monitor::builder().name("shop").install()?;
//! let page = Dashboard::new().monitor(&monitor).bind(([127, 0, 0, 1], 6060))?.start()?;
//! println!("http://{}", page.local_addr());
//! # Ok(())
//! # }
//! ```
//!
//! The page shows each runtime as it is now, the lag of the last hour as a heat map, the stalls of each worker,
//! root future and instrumented future, and [who cost most](crate::Monitor::culprits). The history is kept here,
//! so a page that is opened after an incident shows it.
//!
//! # For machines
//!
//! All answers are JSON, but where the table says otherwise. Times are milliseconds since 1970, durations
//! milliseconds. Fields may be added, none is removed or changes its meaning.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | as text: 200 `ok`, or 503 and who is stuck, if a runtime has been [for too long](Dashboard::unhealthy_after) |
//! | `/api/now` | `instance` (another after a restart of the process), `started_at`, `now`, `pauses`, and for each of `monitors`: `id`, `name`, `running`, `lag_ms`, `sample`, the `stalls` that go on, and with [load shedding](crate::docs::shedding) the `requests`: how many were `admitted`, and `refused` by reason |
//! | `/api/history?range=SECONDS` | `step_ms`, `bands_us` (the limits between bands of lag), and for each of `monitors` its `columns`: for each step the number of samples, the longest lag, tasks, queue, mean `busy`, and `bands` as pairs of band and count. `&since=TIME` leaves older ones out, `&monitor=ID` other monitors |
//! | `/api/stalls` | `stalls`, the newest first: of the last 1,000 of each monitor the last 2,000; and how many older ones were `dropped` |
//! | `/api/culprits` | for each of `monitors`: `since`, `all`, `other`, and `culprits`, the costliest first |
//! | `/api/trace?monitor=ID&culprit=ID` | as text: the stack of a culprit |
//! | `/api/folded?monitor=ID` | as text: folded stacks, for tools that draw flame graphs |
//! | `/picture.svg?range=SECONDS` | lag and stalls as a picture, of the first four monitors |
//! | `/events` | server-sent events: `now`, four times a second, has what `/api/now` has; `stall` has each report |
//!
//! # Who can read it
//!
//! Whoever can connect: the page has no log-in. So [`bind`](Dashboard::bind) takes only addresses of this machine,
//! and other users of this machine can connect to those as well. The page shows names of threads, functions
//! and files, and nothing of your program can be changed by it.
//!
//! A request is refused if its `Host` is a name that the page is not [known by](Dashboard::host), as in DNS
//! rebinding, or if a browser says that the page of another site sends it.
//!
//! # Cost
//!
//! One thread, and three descriptors, beside what it listens on. Stall detection runs, as this asks for
//! stalls. The thread wakes up for each sample and report, and four times a second while a page is open. The history
//! takes less than 1 MiB for each monitor.
//!
//! A client may have 128 connections and 32 open pages; with more, the oldest connections end. Requests are
//! limited to 16 KiB, ten seconds for their head, and 200 a second.

mod api;
mod assets;
mod body;
mod connections;
#[cfg(loopmon_fuzzing)]
pub(crate) mod fuzzing;
mod history;
mod limit;
mod origin;
mod page;
mod picture;
mod routes;
mod scribe;
mod server;
mod stall_log;
mod viewers;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::monitor::Monitor;
use page::Page;
use server::Server;

/// Sets up a live page. See the [module](self).
#[must_use = "a dashboard does nothing until `start`"]
pub struct Dashboard {
    monitors: Vec<Monitor>,
    names: Vec<String>,
    unhealthy_after: Duration,
    listener: Option<TcpListener>,
}

impl Dashboard {
    /// How long a runtime may be stuck before `/healthz` answers 503, by default: 10 seconds.
    pub const DEFAULT_UNHEALTHY_AFTER: Duration = Duration::from_secs(10);

    /// Sets up a page that shows nothing yet.
    pub fn new() -> Dashboard {
        Dashboard {
            monitors: Vec::new(),
            names: Vec::new(),
            unhealthy_after: Dashboard::DEFAULT_UNHEALTHY_AFTER,
            listener: None,
        }
    }

    /// Adds a monitor, installed or not. The page shows it under its name, through all its runs.
    pub fn monitor(mut self, monitor: &Monitor) -> Dashboard {
        self.monitors.push(monitor.clone());
        self
    }

    /// Adds a name that the page is asked for by, such as that of a proxy. It is known by its addresses and as
    /// `localhost` anyway.
    pub fn host(mut self, name: impl Into<String>) -> Dashboard {
        self.names.push(name.into());
        self
    }

    /// Sets how long a runtime may be stuck before `/healthz` answers 503. The default is
    /// [`DEFAULT_UNHEALTHY_AFTER`](Self::DEFAULT_UNHEALTHY_AFTER).
    ///
    /// A runtime is stuck if a stall goes on for so long, or if its [lag](Monitor::lag) is that long: so is one that
    /// nobody drives. One whose monitor is not attached is not.
    pub fn unhealthy_after(mut self, limit: Duration) -> Dashboard {
        self.unhealthy_after = limit;
        self
    }

    /// Takes an address of this machine to listen on. Port 0 is any that is free.
    ///
    /// # Errors
    ///
    /// If other machines can reach the address, if the port is taken, or if the system refuses it otherwise.
    pub fn bind(self, address: impl Into<SocketAddr>) -> Result<Dashboard, Error> {
        let address = address.into();
        if !address.ip().to_canonical().is_loopback() {
            return Err(Kind::NotLoopback.into());
        }
        self.listen(address)
    }

    /// Takes an address that other machines can reach. Everybody there can read the page, as it has no log-in.
    ///
    /// # Errors
    ///
    /// If the port is taken, or if the system refuses the address otherwise.
    pub fn bind_beyond_loopback(self, address: impl Into<SocketAddr>) -> Result<Dashboard, Error> {
        self.listen(address.into())
    }

    fn listen(mut self, address: SocketAddr) -> Result<Dashboard, Error> {
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listener.map_err(|refused| {
            let kind = match refused.kind() {
                io::ErrorKind::AddrInUse => Kind::AddressInUse,
                _ => Kind::AddressUnavailable,
            };
            Error::new(kind, refused)
        })?;
        self.listener = Some(listener);
        Ok(self)
    }

    /// Starts to serve the page. Returns at once.
    ///
    /// # Errors
    ///
    /// If there is no address, or if the operating system refuses a thread or its descriptors.
    pub fn start(self) -> Result<Serving, Error> {
        let listener = self.listener.ok_or(Kind::NotBound)?;
        let address = listener.local_addr();
        let address = address.map_err(|refused| Error::new(Kind::AddressUnavailable, refused))?;
        let page = Page::new(self.monitors, self.names, self.unhealthy_after);
        let server = Server::start(listener, &Arc::new(page))?;
        Ok(Serving { address, server })
    }
}

impl Default for Dashboard {
    fn default() -> Dashboard {
        Dashboard::new()
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("monitors", &self.monitors.len())
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// A page that is being served, from [`Dashboard::start`].
///
/// # Dropping
///
/// When this is dropped, the page is not served any more, as after [`stop`](Self::stop).
#[derive(Debug)]
#[must_use = "the page is served until this is dropped"]
pub struct Serving {
    address: SocketAddr,
    server: Server,
}

impl Serving {
    /// The address that the page is served on, with the port that was free.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops serving, from any thread. The port is free when this returns; connections are cut, and the thread
    /// ends, right after. A second call does nothing.
    pub fn stop(&self) {
        self.server.stop();
    }
}
