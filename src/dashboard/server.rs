//! The thread that serves the page, from the first connection to the stop.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures::future::select;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time;

use super::api;
use super::connections::Connections;
use super::page::Page;
use super::scribe::Scribe;
use crate::error::{Error, Kind};
use crate::feed::Feed;
use crate::own_thread::{OwnThread, SharedThread};
use crate::sync::Lock;

static THREAD: SharedThread = SharedThread::new("loopmon-page");

/// How often an open page learns how it is.
const NEWS: Duration = Duration::from_millis(250);

/// How long to wait if the system has no descriptor for a connection.
const RETRY: Duration = Duration::from_millis(50);

/// A page that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Server(Lock<Option<Running>>);

#[derive(Debug)]
struct Running {
    /// The listener is here, so that the port is free as soon as it is taken out.
    port: Arc<Port>,
    /// Ends the tasks when it is dropped.
    _alive: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Port(Lock<Option<TcpListener>>);

impl Server {
    pub(super) fn start(listener: StdListener, page: &Arc<Page>) -> Result<Server, Error> {
        let thread = THREAD.thread()?;
        let runtime = thread.runtime().clone();
        let listener = {
            let _entered = runtime.enter();
            let listener = TcpListener::from_std(listener);
            listener.map_err(|refused| Error::new(Kind::DescriptorsRefused, refused))?
        };
        let port = Arc::new(Port(Lock::new(Some(listener))));
        let (alive, ended) = oneshot::channel();
        // Subscribes before this returns, so that nothing is lost.
        let feeds = page.runtimes.iter().map(|runtime| {
            // The account counts from now on as well.
            let _ = runtime.monitor.culprits();
            Feed::of(&runtime.monitor)
        });
        let feeds: Vec<_> = feeds.collect();
        let serving = serve(Arc::clone(page), feeds, Arc::clone(&port));
        runtime.spawn(until(ended, serving, thread));
        let running = Running {
            port,
            _alive: alive,
        };
        Ok(Server(Lock::new(Some(running))))
    }

    pub(super) fn stop(&self) {
        let running = self.0.with(Option::take);
        if let Some(running) = running {
            running.port.close();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Port {
    fn close(&self) {
        let listener = self.0.with(Option::take);
        drop(listener);
    }

    /// `None` if the port was closed.
    async fn accept(&self) -> Option<io::Result<TcpStream>> {
        poll_fn(|cx| {
            // The waker is Tokio's.
            let accepted = self
                .0
                .with(|listener| listener.as_ref().map(|one| one.poll_accept(cx)));
            let Some(accepted) = accepted else {
                return Poll::Ready(None);
            };
            let accepted = ready!(accepted);
            Poll::Ready(Some(accepted.map(|(socket, _)| socket)))
        })
        .await
    }
}

/// Serves until the end, and holds the thread for so long.
async fn until(
    ended: oneshot::Receiver<()>,
    serving: impl Future<Output = ()>,
    thread: Arc<OwnThread>,
) {
    select(ended, pin!(serving)).await;
    drop(thread);
}

async fn serve(page: Arc<Page>, feeds: Vec<Feed>, port: Arc<Port>) {
    let mut scribes = JoinSet::new();
    for (index, feed) in feeds.into_iter().enumerate() {
        let mut scribe = Scribe {
            page: Arc::clone(&page),
            index,
        };
        scribes.spawn(async move {
            let (_alive, finished) = oneshot::channel();
            feed.serve(&mut scribe, finished).await;
        });
    }
    scribes.spawn(tell(Arc::clone(&page)));
    let mut connections = Connections::new(page);
    loop {
        match port.accept().await {
            Some(Ok(socket)) => connections.add(socket),
            Some(Err(_)) => time::sleep(RETRY).await,
            None => return,
        }
    }
}

/// Tells the open pages how it is.
async fn tell(page: Arc<Page>) {
    loop {
        page.viewers.some().await;
        page.viewers.send("now", &api::now(&page).to_string());
        time::sleep(NEWS).await;
    }
}
