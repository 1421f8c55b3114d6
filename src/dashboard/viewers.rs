//! The open pages, and what is sent to all of them. One that does not read is cut: it comes back by itself, and asks
//! for what it has missed.

use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::sync::Lock;

/// How many pages may be open.
pub(super) const MOST: usize = 32;

/// How many events a page may be behind.
const BEHIND: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Viewers {
    viewers: Lock<Vec<Viewer>>,
    /// Tells that there is one.
    arrived: Notify,
}

#[derive(Debug)]
struct Viewer {
    events: mpsc::Sender<Bytes>,
    /// Cuts its connection.
    cut: Arc<Notify>,
}

impl Viewers {
    /// Returns what the new viewer receives. `None` if there are too many.
    pub(super) fn arrive(&self, first: Bytes, cut: Arc<Notify>) -> Option<mpsc::Receiver<Bytes>> {
        let (events, received) = mpsc::channel(BEHIND);
        events.try_send(first).ok();
        let mut viewer = Some(Viewer { events, cut });
        let there = self.viewers.with(|viewers| {
            viewers.retain(|viewer| !viewer.events.is_closed());
            if viewers.len() < MOST {
                viewers.extend(viewer.take());
            }
            viewers.len()
        });
        if viewer.is_some() {
            return None;
        }
        if there == 1 {
            self.arrived.notify_one();
        }
        Some(received)
    }

    /// Waits until there is a viewer.
    pub(super) async fn some(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.viewers.with(|viewers| viewers.is_empty())
    }

    pub(super) fn send(&self, kind: &str, data: &str) {
        if self.is_empty() {
            return;
        }
        let event = event(kind, data);
        self.viewers.with(|viewers| {
            viewers.retain(|viewer| {
                let sent = viewer.events.try_send(event.clone());
                if sent.is_err() {
                    viewer.cut.notify_one();
                }
                sent.is_ok()
            });
        });
    }
}

/// `data` is JSON, which has no line breaks.
pub(super) fn event(kind: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {kind}\ndata: {data}\n\n"))
}
