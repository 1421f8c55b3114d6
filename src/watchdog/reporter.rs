//! The thread that publishes what the watchdog has found.
//!
//! To publish is to take the lock of a channel and to have its readers woken. The watchdog does neither:
//! it drops a report into a queue, or counts it as lost when the queue is full.
//!
//! A report waits for what the inspector has to say of it, and for its stack to be read, which is done
//! on another thread: see `pending.rs`.

mod pending;

use std::sync::Arc;
use std::time::Duration;

use tokio::task;

use super::mailboxes::Mailboxes;
use super::verdict::Known;
use crate::broadcast::Publisher;
use crate::clock;
use crate::foreign;
use crate::stack::{self, ResolverThread, StackSnapshot};
use crate::stall::{OsThread, Stall, StallId};
use pending::PendingReports;

#[derive(Debug)]
pub(super) enum News {
    Report(Report),
    /// What there is to say of a report.
    Answer(Answer),
    /// The stack that goes with it, if one was taken.
    Stack(Stack),
    /// There will be no more on this channel.
    End(Arc<Publisher<Stall>>),
    /// A stack has been read.
    Read,
    /// There will be nothing more at all.
    Over,
}

/// One report of a stall. The channel is shared, not cloned: to clone it, or to drop the last of it, is
/// to take its lock.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) publisher: Arc<Publisher<Stall>>,
    /// Among those of its worker.
    pub(super) number: u32,
    /// The inspector has been asked, and is waited for for so long.
    pub(super) answer_within: Option<Duration>,
    pub(super) stall: Stall,
}

/// What the inspector says of a report.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: StallId,
    pub(super) number: u32,
    pub(super) answered: Answered,
}

#[derive(Debug)]
pub(super) enum Answered {
    /// It is no stall, and not to be reported.
    NoStall,
    /// It came to its end while it was looked at.
    NothingNew,
    Known {
        known: Known,
        /// What was known when it was reported last, if this is its end.
        live: Option<Known>,
        /// Whether nobody has run the worker, by the busy time, if this is its end.
        ended: Option<bool>,
        thread: Option<OsThread>,
        task: Option<task::Id>,
        snapshot: Option<Arc<StackSnapshot>>,
        /// A stack is being taken.
        stack_follows: bool,
    },
}

/// What came of taking a stack.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) id: StallId,
    pub(super) number: u32,
    /// `None` if none came of it.
    pub(super) snapshot: Option<Arc<StackSnapshot>>,
    /// Whether the thread has said that it runs the worker.
    pub(super) said: Option<bool>,
    pub(super) task: Option<task::Id>,
    /// It polls another task than before.
    pub(super) went_on: bool,
}

/// Publishes until there will be nothing more.
pub(super) fn serve(mailboxes: &Arc<Mailboxes>) {
    let news = Arc::clone(mailboxes);
    let start = || {
        ResolverThread::start(move || {
            news.report(News::Read).ok();
        })
    };
    // Before a stall needs it. If the system refuses the thread, each stack counts as read, to nothing.
    let reader = stack::ARE_TAKEN.then(start).and_then(Result::ok);
    let mut pending = PendingReports::new();
    loop {
        let news = mailboxes.reporter.pop(pending.due_at());
        if matches!(news, Some(News::Over)) {
            return;
        }
        // A fault of ours costs what it was about, and the hook has reported it.
        foreign::call(|| act(news, &mut pending, reader.as_ref(), mailboxes)).ok();
    }
}

fn act(
    news: Option<News>,
    pending: &mut PendingReports,
    reader: Option<&ResolverThread>,
    mailboxes: &Mailboxes,
) {
    let now = clock::now();
    match news {
        Some(News::Report(report)) => pending.arrive(report, now),
        Some(News::Answer(answer)) => {
            read(reader, answer.snapshot());
            pending.answer(answer, now);
        }
        Some(News::Stack(stack)) => {
            read(reader, stack.snapshot.as_ref());
            pending.stack(stack);
        }
        Some(News::End(publisher)) => {
            mailboxes.reporter.release();
            pending.end(&publisher, now);
            publisher.close();
        }
        Some(News::Read | News::Over) | None => {}
    }
    pending.publish(now);
}

impl Answer {
    fn snapshot(&self) -> Option<&Arc<StackSnapshot>> {
        match &self.answered {
            Answered::Known { snapshot, .. } => snapshot.as_ref(),
            Answered::NoStall | Answered::NothingNew => None,
        }
    }
}

fn read(reader: Option<&ResolverThread>, snapshot: Option<&Arc<StackSnapshot>>) {
    if let Some(unresolved) = snapshot.and_then(StackSnapshot::unresolved) {
        // Without a reader, dropping it says that it is read.
        if let Some(reader) = reader {
            reader.resolve(unresolved);
        }
    }
}
