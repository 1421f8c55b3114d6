//! The connections of the page: not too many, none for too long. A new one is always let in, and the oldest ends
//! for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::select;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::limit::Limit;
use super::page::Page;
use super::routes::{self, Asker};
use crate::clock;
use crate::sync::Lock;

/// How many connections there may be.
const MOST: usize = 128;

/// How long a client may take to send the head of a request, the wait for it included.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection lives that carries no events.
const LIFE: Duration = Duration::from_secs(60);

/// How long it may take to end then.
const END_TIME: Duration = Duration::from_secs(5);

const MOST_HEADERS: usize = 64;
const MOST_HEAD_BYTES: usize = 16 * 1024;

pub(super) struct Connections {
    page: Arc<Page>,
    limit: Arc<Lock<Limit>>,
    tasks: JoinSet<()>,
    /// The oldest first.
    open: VecDeque<Open>,
}

struct Open {
    task: AbortHandle,
    streams: Arc<AtomicBool>,
}

impl Connections {
    pub(super) fn new(page: Arc<Page>) -> Connections {
        Connections {
            page,
            limit: Arc::new(Lock::new(Limit::new(clock::now()))),
            tasks: JoinSet::new(),
            open: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, socket: TcpStream) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|open| !open.task.is_finished());
        if self.open.len() >= MOST {
            self.end_oldest();
        }
        // Events are small, and to wait for more would delay them.
        socket.set_nodelay(true).ok();
        let streams = Arc::new(AtomicBool::new(false));
        let page = Arc::clone(&self.page);
        let serving = serve(socket, page, Arc::clone(&self.limit), Arc::clone(&streams));
        let task = self.tasks.spawn(serving);
        self.open.push_back(Open { task, streams });
    }

    /// There are fewer pages than connections, so one of them carries no events.
    fn end_oldest(&mut self) {
        let is_short = |open: &Open| !open.streams.load(Ordering::Relaxed);
        let oldest = self.open.iter().position(is_short);
        if let Some(oldest) = oldest.and_then(|index| self.open.remove(index)) {
            oldest.task.abort();
        }
    }
}

pub(super) async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    page: Arc<Page>,
    limit: Arc<Lock<Limit>>,
    streams: Arc<AtomicBool>,
) {
    let cut = Arc::new(Notify::new());
    let says = Arc::clone(&streams);
    let asker = Asker {
        cut: Arc::clone(&cut),
        streams: Arc::new(move || says.store(true, Ordering::Relaxed)),
    };
    let service = service_fn(|request| {
        let has_room = limit.with(|limit| limit.take(clock::now()));
        let answer = if has_room || request.uri().path() == "/healthz" {
            routes::answer(&page, &request, &asker)
        } else {
            routes::too_many("too many requests\n", StatusCode::TOO_MANY_REQUESTS)
        };
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let is_cut = pin!(cut.notified());
    let mut over = select(connection.as_mut(), is_cut);
    if timeout(LIFE, &mut over).await.is_ok() {
        return;
    }
    if streams.load(Ordering::Relaxed) {
        over.await;
        return;
    }
    drop(over);
    connection.as_mut().graceful_shutdown();
    timeout(END_TIME, connection).await.ok();
}
