//! What a suspect's own thread is asked: which worker and task it runs, and its stack.

use std::sync::Arc;

use crate::stack::{self, Identity, Shot, StackTraces};
use crate::stall::OsThread;

/// How often a thread that shows no stack is tried again between two reports.
const RETRIES: u32 = 5;

#[derive(Debug)]
pub(super) struct Inquiry {
    settings: StackTraces,
    /// What the thread said when it was asked last.
    known: Option<Identity>,
    /// The latest that shows a stack; or that shows why not, if there is none.
    shot: Option<Arc<Shot>>,
    retries: u32,
}

/// What has come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) identity: Option<Identity>,
    /// The thread polls another task than when it was asked before.
    pub(super) went_on: bool,
}

impl Inquiry {
    pub(super) fn new(settings: StackTraces) -> Inquiry {
        Inquiry {
            settings,
            known: None,
            shot: None,
            retries: 0,
        }
    }

    /// At the first suspicion, to compare with later.
    pub(super) fn begin(&mut self, thread: Option<&OsThread>) -> Option<Identity> {
        self.shot = None;
        self.known = thread.and_then(|thread| stack::identify(thread.id?, self.settings));
        self.known
    }

    /// When the stall is to be told. `None` if it has come to its end meanwhile: what was seen of the
    /// thread then is of no use. `still`: whether it goes on.
    pub(super) fn go_on(
        &mut self,
        thread: Option<&OsThread>,
        still: impl Fn() -> bool,
    ) -> Option<Statement> {
        let id = thread.and_then(|thread| thread.id);
        let shot = id.and_then(|id| Shot::take(id, self.settings));
        let identity = match shot.as_ref().and_then(|shot| shot.identity()) {
            None => id.and_then(|id| stack::identify(id, self.settings)),
            identity => identity,
        };
        if !still() {
            return None;
        }
        self.retries = RETRIES;
        if let Some(shot) = shot {
            let is_better = self.shot.as_ref().is_none_or(|shot| !shot.shows_calls());
            if shot.shows_calls() || is_better {
                self.shot = Some(shot);
            }
        }
        let before = std::mem::replace(&mut self.known, identity);
        let went_on = match (before, identity) {
            (Some(before), Some(now)) => before.task != now.task,
            _ => false,
        };
        Some(Statement { identity, went_on })
    }

    /// When there is nothing to tell of a stall that goes on. `still`: whether it did even then.
    pub(super) fn retry(&mut self, thread: Option<&OsThread>, still: impl Fn() -> bool) {
        let shows_none = self.shot.as_ref().is_some_and(|shot| !shot.shows_calls());
        if !shows_none || self.retries == 0 {
            return;
        }
        self.retries -= 1;
        let shot = thread.and_then(|thread| Shot::take(thread.id?, self.settings));
        if let Some(shot) = shot.filter(|shot| shot.shows_calls() && still()) {
            self.shot = Some(shot);
        }
    }

    pub(super) fn shot(&self) -> Option<Arc<Shot>> {
        self.shot.clone()
    }

    /// The stall is over, or the thread is not the one that is stuck.
    pub(super) fn end(&mut self) -> Option<Arc<Shot>> {
        self.known = None;
        self.shot.take()
    }
}
