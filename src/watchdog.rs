//! How a stall is found. What to do about one is up to its readers.
//!
//! Three threads serve all monitored runtimes of the process, from the first watch to the last. The
//! *watchdog* does nothing but read counters, so it goes on whatever the program is stuck in. The *inspector*
//! finds out which thread runs a stuck worker and what that thread does, which may need a lock or memory that
//! the program holds. The *reporter* publishes, so slow readers hold up neither. They talk by messages
//! (`messages.rs`), on queues that no sender waits for (`mailboxes.rs`, `queue.rs`).
//!
//! A stall passes through the files in this order:
//!
//! 1. A monitor requests a watch of its runtime (`subject.rs`). The inbox hands the watch to the watchdog,
//!    which it starts if none runs (`inbox.rs`).
//! 2. The watchdog (`thread.rs`) ticks five times per threshold, but each 1 to 20 ms. An idle runtime is
//!    looked at less often (`runtime_watch.rs`). The watchdog measures time by a clock
//!    that stops while the process does not run (`awake_clock.rs`). If the watchdog was late, `gap.rs` finds out why,
//!    and `pauses.rs` counts pauses of the process.
//! 3. At each tick of a runtime (`runtime_watch.rs`), the detector of each worker (`detector.rs`) compares
//!    what Tokio's counters show with the tick before. A worker that is not parked and whose counters do not
//!    move is stuck.
//! 4. The watch of the worker (`worker_watch.rs`) keeps its case (`case.rs`). When the worker is stuck for half the
//!    threshold, it is *suspected*, and the watchdog commands the inspector to investigate. At the threshold
//!    the case is *open*: the watchdog reports the stall, and commands the inspector to answer the report. It
//!    does so again at twice the threshold, four times, and so on, and when the worker is back.
//! 5. The inspector (`inspector.rs`) has one investigation for each case (`inspector/investigation.rs`). Tasks
//!    of loopmon have recorded on which thread each worker was last observed. The investigation reads what
//!    the system says of that thread (`evidence.rs`), asks the thread itself, and captures its stack
//!    (`probe/thread.rs`). It has loopmon's tasks polled (`probe/task.rs`, `probe/barrier.rs`), and checks
//!    whether the blocking pool has a thread to spare (`probe/pool.rs`). Where `block_in_place` moves
//!    workers, it rules out the other threads (`inspector/candidates.rs`, `inspector/census.rs`). Besides,
//!    the inspector counts how a CPU quota throttles the process (`throttle.rs`).
//! 6. The reporter (`reporter.rs`) holds the report back until the inspector has answered and the stack is
//!    resolved, but not for long (`reporter/pending.rs`). `verdict.rs` weighs the evidence, and decides which
//!    thread and which cause the report names.
//! 7. The reporter publishes the report on the monitor's channel (`outlet.rs`).
//!
//! The polls of instrumented futures pass through fewer files. Their threads record them (`polls.rs`). The
//! watch of a monitor's futures (`poll_subject.rs`, `poll_watch.rs`) finds those that last, and tells the time
//! of those that have ended by what the process did not run (`lost_time.rs`). The inspector knows the thread
//! of such a poll, so it only has to find out what the thread does (`inspector/poll_investigation.rs`).
//!
//! The future of a `block_on` of a `multi_thread` runtime runs on no worker. The thread that installed the monitor
//! may poll it, so that thread is watched as well (`root_thread.rs`, `root_watch.rs`), by what the system counts of
//! it (`root_detector.rs`). The inspector judges whether it polls (`inspector/root_case.rs`). The same watch serves a
//! `current_thread` runtime where Tokio's counters do not show whether it is driven.
//!
//! When a watch ends, the watchdog sends the end of the channel to the reporter, and the watch itself to the
//! inspector, which has it dropped: the watchdog's thread frees nothing.

mod awake_clock;
mod case;
mod detector;
mod evidence;
#[cfg(loopmon_fuzzing)]
pub(crate) mod fuzzing;
mod gap;
mod inbox;
mod inspector;
mod lost_time;
mod mailboxes;
mod messages;
mod outlet;
mod pauses;
mod poll_subject;
mod poll_watch;
mod probe;
mod queue;
mod reporter;
mod root_detector;
mod root_thread;
mod root_watch;
mod runtime_watch;
mod subject;
mod thread;
mod throttle;
mod verdict;
mod worker_watch;

use std::io;
use std::sync::Arc;

pub(crate) use outlet::Outlet;
#[cfg(feature = "testing")]
pub(crate) use pauses::paused_between;
pub use pauses::{Pause, Pauses, pauses};
pub(crate) use poll_subject::PollRequest;
pub(crate) use root_thread::Installer;
pub(crate) use subject::Request;

use crate::per_process::PerProcess;
use crate::runtime;
use crate::threads;
use inbox::Inbox;
use mailboxes::Mailboxes;
use messages::{Command, Event};
use poll_subject::PollSubject;
use poll_watch::PollWatch;
use runtime_watch::RuntimeWatch;
use subject::Subject;
use thread::{AnyWatch, Arrival};

static INBOX: PerProcess<Inbox<Arrival, Mailboxes>> = PerProcess::new(Inbox::new);

/// The watch of one runtime, or of a monitor's instrumented futures. When this is dropped, the watchdog looks a
/// last time, and drops what it watched. The channel is closed with the last watch that publishes there.
#[derive(Debug)]
pub(crate) struct Watch(Watched);

#[derive(Debug)]
enum Watched {
    Nothing,
    Runtime(Arc<Subject>),
    Polls(Arc<PollSubject>),
}

impl Watch {
    /// Watches a runtime. Fails if the operating system refuses a thread.
    pub(crate) fn start(request: Request) -> io::Result<Watch> {
        if !runtime::ARE_PUBLISHED {
            // Tokio publishes nothing here, so there is nothing to find.
            return Ok(Watch(Watched::Nothing));
        }
        let subject = Subject::new(request);
        let watch = Box::new(RuntimeWatch::new(Arc::clone(&subject)));
        arrive(AnyWatch::Runtime(watch), &subject.outlet).inspect_err(|_| subject.probe.end())?;
        Ok(Watch(Watched::Runtime(subject)))
    }

    /// Watches a monitor's instrumented futures. Fails if the operating system refuses a thread.
    pub(crate) fn start_polls(request: PollRequest) -> io::Result<Watch> {
        let subject = PollSubject::new(request);
        let watch = Box::new(PollWatch::new(Arc::clone(&subject)));
        arrive(AnyWatch::Polls(watch), &subject.outlet).inspect_err(|_| subject.end())?;
        Ok(Watch(Watched::Polls(subject)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        match &self.0 {
            Watched::Nothing => return,
            Watched::Runtime(subject) => subject.end(),
            Watched::Polls(subject) => subject.end(),
        }
        INBOX.get().leave();
    }
}

fn arrive(watch: AnyWatch, outlet: &Arc<Outlet>) -> io::Result<()> {
    let inbox = INBOX.get();
    outlet.begin_watch();
    let prepare = |mailboxes: &Mailboxes| Arrival::new(watch, mailboxes);
    inbox
        .arrive(|| start(inbox), prepare)
        .inspect_err(|_| outlet.withdraw_watch())
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
    let watchdog = reporter.and_then(|()| thread::start(inbox, watched));
    // Threads that were started must end even so.
    if let Err(refused) = watchdog {
        mailboxes.command_reserved(Command::Stop);
        mailboxes.event_reserved(Event::Stop);
        return Err(refused);
    }
    Ok(mailboxes)
}
