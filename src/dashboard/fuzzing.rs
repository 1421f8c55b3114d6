//! The page, asked by anybody for anything. See `crate::fuzzing`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Dashboard;
use super::connections;
use super::limit::Limit;
use super::page::Page;
use super::scribe::Scribe;
use crate::clock;
use crate::feed::Exporter;
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::stall::{Cause, Phase, Place, Stall};
use crate::sync::Lock;

/// Serves a page of one monitor, which has a past, on one connection until that ends.
pub async fn serve(monitor: Monitor, socket: impl AsyncRead + AsyncWrite + Unpin) {
    let limit = Dashboard::DEFAULT_UNHEALTHY_AFTER;
    let page = Arc::new(Page::new(
        vec![monitor],
        vec!["page.internal".to_owned()],
        limit,
    ));
    let mut scribe = Scribe {
        page: Arc::clone(&page),
        index: 0,
    };
    let (now, began_at) = (clock::now(), clock::utc_now());
    for millis in [0, 7, 20_000] {
        let lasted = Duration::from_millis(millis);
        scribe.sample(&Sample::new(lasted, 3, began_at), now);
        for (phase, place) in [
            (Phase::Started, Place::Worker(0)),
            (Phase::Ended, Place::Future("<b>\"\u{1b}[1m&\r\n".into())),
        ] {
            scribe.stall(
                &Stall::new(phase, place, Cause::OnCpu, began_at, lasted),
                now,
            );
        }
    }
    let limit = Arc::new(Lock::new(Limit::new(now)));
    connections::serve(socket, page, limit, Arc::new(AtomicBool::new(false))).await;
}
