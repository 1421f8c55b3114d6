//! How a stall is found. What is done about one is up to its readers.
//!
//! Three threads serve all monitored runtimes of the process. They start with the first runtime to be
//! watched and end with the last. The *watchdog* does nothing but look at counters, so it goes on whatever the
//! program is stuck in. The *inspector* finds out which thread runs a stuck worker and what that thread does,
//! which may need a lock or memory that the program holds. The *reporter* publishes, so slow readers hold up
//! neither. They talk by messages (`messages.rs`), on queues that nobody waits for (`mailboxes.rs`, `queue.rs`).
//!
//! A stall passes through the files in this order:
//!
//! 1. A monitor requests a watch of its runtime (`subject.rs`), and the inbox hands it to the watchdog, which
//!    it starts if none runs (`inbox.rs`).
//! 2. The watchdog (`thread.rs`) ticks at a fifth of the threshold. It measures time by a clock that stops
//!    while the process does not run (`awake_clock.rs`); why the watchdog was late is judged in `gap.rs` and
//!    counted in `pauses.rs`.
//! 3. At each tick of a runtime (`runtime_watch.rs`), the detector of each worker (`detector.rs`) compares
//!    the counters that Tokio publishes with those of the tick before. A worker that is not parked and whose
//!    counters do not move is stuck.
//! 4. The worker's watch (`worker_watch.rs`) keeps the case. A worker that is stuck for half the threshold is
//!    *suspected*, and the inspector is commanded to investigate. After the threshold the case is *open*: the
//!    watchdog reports the stall, and asks the inspector to answer the report. It does so again after twice
//!    the threshold, four times, and so on, and when the worker is back.
//! 5. The inspector (`inspector.rs`) has an investigation for each case (`inspector/investigation.rs`). It
//!    knows on which thread each worker was last observed, as loopmon's tasks record that. It reads what the
//!    system says of this thread (`evidence.rs`), and asks the thread itself (`probe/thread.rs`). It has
//!    other workers make progress visible (`probe/task.rs`, `probe/barrier.rs`), and sees whether the
//!    blocking pool has a thread to spare (`probe/pool.rs`). Where `block_in_place` moves workers, it rules
//!    out the other threads (`inspector/candidates.rs`, `inspector/census.rs`). Beside that it watches for
//!    CPU quotas (`throttle.rs`).
//! 6. The reporter (`reporter.rs`) holds the report back until the inspector has answered and the stack is
//!    resolved, but not for long (`reporter/pending.rs`). Then `verdict.rs` weighs the evidence: it decides
//!    which thread and which cause the report names.
//! 7. The report is published on the monitor's channel, and its readers are woken.
//!
//! When the watch ends, the watchdog sends the channel's end to the reporter, and what is to be dropped to the
//! inspector: the watchdog's thread itself frees nothing.

mod awake_clock;
mod detector;
mod evidence;
mod gap;
mod inbox;
mod inspector;
mod mailboxes;
mod messages;
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

pub use pauses::{Pause, Pauses, pauses};
pub(crate) use subject::Request;

use crate::per_process::PerProcess;
use crate::runtime;
use crate::threads;
use inbox::Inbox;
use mailboxes::Mailboxes;
use messages::{Command, Event};
use runtime_watch::RuntimeWatch;
use subject::Subject;
use thread::Arrival;

static INBOX: PerProcess<Inbox<Arrival, Mailboxes>> = PerProcess::new(Inbox::new);

/// The watch of one runtime. When this is dropped, the watchdog looks at the runtime a last time, closes the
/// channel and drops the runtime's handle.
#[derive(Debug)]
pub(crate) struct Watch(Option<Arc<Subject>>);

impl Watch {
    /// Fails if the operating system refuses a thread.
    pub(crate) fn start(request: Request) -> io::Result<Watch> {
        if !runtime::ARE_PUBLISHED {
            // Tokio publishes nothing here, so there is nothing to find.
            request.publisher.close();
            return Ok(Watch(None));
        }
        let subject = Subject::new(request);
        let inbox = INBOX.get();
        let watch = Box::new(RuntimeWatch::new(Arc::clone(&subject)));
        inbox
            .arrive(|| start(inbox), |mailboxes| Arrival::new(watch, mailboxes))
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

/// Starts the three threads. The watchdog ends the other two.
fn start(inbox: &'static Inbox<Arrival, Mailboxes>) -> io::Result<Arc<Mailboxes>> {
    // Allocates here what the watchdog's thread uses.
    let _ = pauses();
    let mailboxes = Arc::new(Mailboxes::new());
    let share = || Arc::clone(&mailboxes);
    let (inspected, reported, watched) = (share(), share(), share());
    threads::spawn("loopmon-inspect", move || inspector::run(&inspected))?;
    let reporter = threads::spawn("loopmon-reporter", move || reporter::run(&reported));
    let watchdog = reporter
        .and_then(|()| threads::spawn("loopmon-watchdog", move || thread::run(inbox, &watched)));
    // Threads that were started must end even so.
    if let Err(refused) = watchdog {
        mailboxes.command_reserved(Command::Stop);
        mailboxes.event_reserved(Event::Stop);
        return Err(refused);
    }
    Ok(mailboxes)
}
