//! How a stall is found.
//!
//! Three threads, for all monitored runtimes of the process, from the first that is to be watched to the
//! last:
//!
//! * The *watchdog* (`thread.rs`) looks at what Tokio publishes of each worker, every fifth of its
//!   monitor's threshold, and does nothing else: whatever the program is stuck in, it goes on looking.
//!   `inbox.rs` tells it what to look at, `credit.rs` how much time has passed for it, and `gap.rs` what
//!   it was if it could not look. A runtime is a `watched.rs`, each of its workers a `seat.rs`, and what
//!   a worker's counters mean is reckoned in `worker.rs`.
//! * The *inspector* (`inspector.rs`) is given each worker that stands still for half the threshold, and
//!   finds out which thread runs it and what that does (`case.rs`, `evidence.rs`, `inquiry.rs`).
//! * The *reporter* (`reporter.rs`) is given each report by the watchdog, and what there is to say of it
//!   by the inspector. `verdict.rs` weighs it; then it is published.
//!
//! What goes from one to the other is in `posts.rs`, on queues that are never waited for (`queue.rs`).
//! So the watchdog reports a stall although the inspector is stuck in the same lock, and a reader that
//! is stuck holds up neither.

mod credit;
mod evidence;
mod gap;
mod inbox;
mod inquiry;
mod inspector;
mod pauses;
mod posts;
mod probe;
mod queue;
mod rendezvous;
mod reporter;
mod seat;
mod subject;
mod thread;
mod throttle;
mod verdict;
mod watched;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use pauses::{Pause, Pauses, pauses};

use crate::broadcast::Publisher;
use crate::per_process::PerProcess;
use crate::stack::StackTraces;
use crate::stall::Stall;
use crate::tasks::OwnTasks;
use crate::threads;
use inbox::Inbox;
use inspector::Order;
use posts::Posts;
use reporter::News;
use subject::Subject;
use thread::Arrival;
use watched::Watched;

static INBOX: PerProcess<Inbox<Arrival, Posts>> = PerProcess::new(Inbox::new);

/// A runtime that is to be watched, and where its stalls are told.
pub(crate) struct Request {
    pub(crate) runtime: Handle,
    pub(crate) tasks: OwnTasks,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) threshold: Duration,
    pub(crate) rescue_timers: bool,
    pub(crate) stack_traces: StackTraces,
    pub(crate) publisher: Arc<Publisher<Stall>>,
}

/// A runtime that is being watched. When this is dropped, the watchdog looks a last time, closes the
/// channel and lets go of the runtime.
#[derive(Debug)]
pub(crate) struct Watch(Option<Arc<Subject>>);

impl Watch {
    /// Fails if the operating system refuses a thread.
    pub(crate) fn start(request: Request) -> io::Result<Watch> {
        if cfg!(not(target_has_atomic = "64")) {
            // Tokio publishes nothing there.
            request.publisher.close();
            return Ok(Watch(None));
        }
        let subject = Subject::new(request);
        let inbox = INBOX.get();
        let watched = Box::new(Watched::new(Arc::clone(&subject)));
        let prepare = |posts: &Posts| {
            posts.reserve();
            Arrival {
                watched,
                room: posts.take_slot(),
            }
        };
        inbox
            .arrive(|| start(inbox), prepare)
            .inspect_err(|_| subject.probe.end())?;
        Ok(Watch(Some(subject)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(subject) = self.0.take() {
            subject.end();
            INBOX.get().leave();
        }
    }
}

/// Starts the watchdog, and the threads that help it, which end with it.
fn start(inbox: &'static Inbox<Arrival, Posts>) -> io::Result<Arc<Posts>> {
    // What the watchdog's thread uses is there before.
    let _ = pauses();
    let posts = Arc::new(Posts::new());
    let at = |posts: &Arc<Posts>| Arc::clone(posts);
    let (inspected, reported, watched) = (at(&posts), at(&posts), at(&posts));
    threads::spawn("loopmon-inspect", move || inspector::serve(&inspected))?;
    let reporter = threads::spawn("loopmon-reporter", move || reporter::serve(&reported));
    let watchdog = reporter
        .and_then(|()| threads::spawn("loopmon-watchdog", move || thread::watch(inbox, &watched)));
    // Whoever was started has something to end by.
    if let Err(refused) = watchdog {
        posts.inspect_end(Order::Over);
        posts.report_end(News::Over);
        return Err(refused);
    }
    Ok(posts)
}
