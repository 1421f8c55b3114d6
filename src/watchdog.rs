//! How a stall is found.
//!
//! Three threads, for all monitored runtimes of the process, from the first that is to be watched to the
//! last:
//!
//! * The *watchdog* (`thread.rs`) looks at what Tokio publishes of each worker, every fifth of its
//!   monitor's threshold, and does nothing else: whatever the program is stuck in, it goes on looking.
//!   `inbox.rs` tells it what to look at, `awake_clock.rs` how much time has passed for it, and `gap.rs` what
//!   it was if it could not look. A runtime is a `watched.rs`, each of its workers a `seat.rs`, and what
//!   a worker's counters mean is reckoned in `worker.rs`.
//! * The *inspector* (`inspector.rs`) is given each worker that stands still for half the threshold, and
//!   finds out which thread runs it and what that does (`case.rs`, `evidence.rs`, `probe.rs`).
//! * The *reporter* (`reporter.rs`) is given each report by the watchdog, and what there is to say of it
//!   by the inspector. `verdict.rs` weighs it; then it is published.
//!
//! What goes from one to the other is in `mailboxes.rs`, on queues that are never waited for (`queue.rs`).
//! So the watchdog reports a stall although the inspector is stuck in the same lock, and a reader that
//! is stuck holds up neither.

mod awake_clock;
mod detector;
mod evidence;
mod gap;
mod inbox;
mod inspector;
mod mailboxes;
mod pauses;
mod probe;
mod queue;
mod reporter;
mod runtime_watch;
mod subject;
mod thread;
mod throttle;
mod verdict;
mod worker_watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use pauses::{Pause, Pauses, pauses};

use crate::broadcast::Publisher;
use crate::per_process::PerProcess;
use crate::runtime;
use crate::runtime::TaskTracker;
use crate::stack::StackCapture;
use crate::stall::Stall;
use crate::threads;
use inbox::Inbox;
use inspector::Order;
use mailboxes::Mailboxes;
use reporter::News;
use runtime_watch::RuntimeWatch;
use subject::Subject;
use thread::Arrival;

static INBOX: PerProcess<Inbox<Arrival, Mailboxes>> = PerProcess::new(Inbox::new);

/// A runtime that is to be watched, and where its stalls are told.
pub(crate) struct Request {
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) threshold: Duration,
    pub(crate) rescue_timers: bool,
    pub(crate) stack_capture: StackCapture,
    pub(crate) publisher: Arc<Publisher<Stall>>,
}

/// A runtime that is being watched. When this is dropped, the watchdog looks a last time, closes the
/// channel and lets go of the runtime.
#[derive(Debug)]
pub(crate) struct Watch(Option<Arc<Subject>>);

impl Watch {
    /// Fails if the operating system refuses a thread.
    pub(crate) fn start(request: Request) -> io::Result<Watch> {
        if !runtime::ARE_PUBLISHED {
            // Tokio publishes nothing there.
            request.publisher.close();
            return Ok(Watch(None));
        }
        let subject = Subject::new(request);
        let inbox = INBOX.get();
        let watched = Box::new(RuntimeWatch::new(Arc::clone(&subject)));
        let prepare = |mailboxes: &Mailboxes| {
            mailboxes.reserve();
            Arrival {
                watched,
                room: mailboxes.take_slot(),
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
fn start(inbox: &'static Inbox<Arrival, Mailboxes>) -> io::Result<Arc<Mailboxes>> {
    // What the watchdog's thread uses is there before.
    let _ = pauses();
    let mailboxes = Arc::new(Mailboxes::new());
    let at = |mailboxes: &Arc<Mailboxes>| Arc::clone(mailboxes);
    let (inspected, reported, watched) = (at(&mailboxes), at(&mailboxes), at(&mailboxes));
    threads::spawn("loopmon-inspect", move || inspector::serve(&inspected))?;
    let reporter = threads::spawn("loopmon-reporter", move || reporter::serve(&reported));
    let watchdog = reporter
        .and_then(|()| threads::spawn("loopmon-watchdog", move || thread::watch(inbox, &watched)));
    // Whoever was started has something to end by.
    if let Err(refused) = watchdog {
        mailboxes.inspect_end(Order::Over);
        mailboxes.report_end(News::Over);
        return Err(refused);
    }
    Ok(mailboxes)
}
