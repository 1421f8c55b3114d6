//! The polls that have ended after more than the threshold: handed from the threads that polled to the
//! watchdog, exactly measured.
//!
//! The lock is held for a move in or out, never while memory is allocated or freed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::slot::Running;
use crate::stall::OsThread;
use crate::sync::Lock;

/// How many may wait for the watchdog, which takes all of them at each tick.
const MOST: usize = 1_024;

/// Names that are no longer needed.
type Spent = (Option<Arc<str>>, Option<OsThread>);

/// A poll that has ended after more than the threshold.
#[derive(Debug)]
pub(crate) struct EndedPoll {
    pub(crate) poll: Running,
    pub(crate) name: Arc<str>,
    pub(crate) thread: OsThread,
    pub(crate) ended: Instant,
}

#[derive(Debug)]
pub(super) struct Ended(Lock<State>);

#[derive(Debug)]
struct State {
    waiting: VecDeque<EndedPoll>,
    /// What the watchdog must not drop, as that may free memory.
    spent: Vec<Spent>,
}

impl Ended {
    pub(super) fn new() -> Ended {
        Ended(Lock::new(State {
            waiting: VecDeque::with_capacity(MOST),
            spent: Vec::with_capacity(MOST),
        }))
    }

    /// Hands a poll over. If the watchdog is far behind, it finds out by itself that the poll has ended.
    pub(super) fn push(&self, poll: EndedPoll) {
        let mut poll = Some(poll);
        // More than the watchdog leaves of one poll.
        let spent = self.0.with(|state| {
            if state.waiting.len() < MOST {
                state.waiting.extend(poll.take());
            }
            [state.spent.pop(), state.spent.pop()]
        });
        drop(spent);
    }

    pub(super) fn pop(&self) -> Option<EndedPoll> {
        self.0.with(|state| state.waiting.pop_front())
    }

    /// Has the next thread that hands a poll over drop this.
    pub(super) fn drop_elsewhere(&self, name: Option<Arc<str>>, thread: Option<OsThread>) {
        let mut spent = Some((name, thread));
        self.0.with(|state| {
            if state.spent.len() < MOST {
                state.spent.extend(spent.take());
            }
        });
    }
}
