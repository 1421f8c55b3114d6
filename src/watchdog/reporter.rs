//! The thread that publishes what the watchdog has found.
//!
//! To publish is to take the lock of a channel and to have its readers woken. The watchdog does neither:
//! it drops a report into a queue, or counts it as lost when the queue is full.
//!
//! A report waits for what the inspector has to say of it, and for its stack to be read, which is done
//! on another thread: see `held.rs`.

mod held;

use std::sync::Arc;
use std::time::Duration;

use tokio::task;

use super::posts::Posts;
use super::verdict::Known;
use crate::broadcast::Publisher;
use crate::clock;
use crate::foreign;
use crate::stack::{self, Reader, Shot};
use crate::stall::{OsThread, Stall, StallId};
use held::Held;

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
        shot: Option<Arc<Shot>>,
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
    pub(super) shot: Option<Arc<Shot>>,
    /// Whether the thread has said that it runs the worker.
    pub(super) said: Option<bool>,
    pub(super) task: Option<task::Id>,
    /// It polls another task than before.
    pub(super) went_on: bool,
}

/// Publishes until there will be nothing more.
pub(super) fn serve(posts: &Arc<Posts>) {
    let news = Arc::clone(posts);
    let start = || {
        Reader::start(move || {
            news.report(News::Read).ok();
        })
    };
    // Before a stall needs it. If the system refuses the thread, each stack counts as read, to nothing.
    let reader = stack::ARE_TAKEN.then(start).and_then(Result::ok);
    let mut held = Held::new();
    loop {
        let news = posts.reporter.pop(held.due_at());
        if matches!(news, Some(News::Over)) {
            return;
        }
        // A fault of ours costs what it was about, and the hook has reported it.
        foreign::call(|| act(news, &mut held, reader.as_ref(), posts)).ok();
    }
}

fn act(news: Option<News>, held: &mut Held, reader: Option<&Reader>, posts: &Posts) {
    let now = clock::now();
    match news {
        Some(News::Report(report)) => held.arrive(report, now),
        Some(News::Answer(answer)) => {
            read(reader, answer.shot());
            held.answer(answer, now);
        }
        Some(News::Stack(stack)) => {
            read(reader, stack.shot.as_ref());
            held.stack(stack);
        }
        Some(News::End(publisher)) => {
            posts.reporter.release();
            held.end(&publisher, now);
            publisher.close();
        }
        Some(News::Read | News::Over) | None => {}
    }
    held.publish(now);
}

impl Answer {
    fn shot(&self) -> Option<&Arc<Shot>> {
        match &self.answered {
            Answered::Known { shot, .. } => shot.as_ref(),
            Answered::NoStall | Answered::NothingNew => None,
        }
    }
}

fn read(reader: Option<&Reader>, shot: Option<&Arc<Shot>>) {
    if let Some(unread) = shot.and_then(Shot::unread) {
        // Without a reader, dropping it says that it is read.
        if let Some(reader) = reader {
            reader.read(unread);
        }
    }
}
