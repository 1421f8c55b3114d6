//! What a suspect's own thread is asked: which worker and task it runs, and its stack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::stack::{self, Identity, Run, Shot, StackTraces};
use crate::stall::OsThread;

/// How often a thread that shows no stack is tried again between two reports.
const RETRIES: u32 = 5;

/// With less time left the retry is kept for another look: a thread that waits for a CPU would hardly
/// answer.
const WORTH_A_RETRY: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Inquiry {
    settings: StackTraces,
    /// What the thread has been seen to do since it is suspected.
    run: Run,
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

/// After `until` nothing is waited for.
impl Inquiry {
    pub(super) fn new(settings: StackTraces) -> Inquiry {
        Inquiry {
            settings,
            run: Run::default(),
            known: None,
            shot: None,
            retries: 0,
        }
    }

    /// At the first suspicion.
    pub(super) fn begin(&mut self, thread: Option<&OsThread>, until: Instant) {
        self.end();
        self.ask_first(thread, until);
    }

    /// At each look from then on, until the stall is told: who the thread is, to compare with later.
    pub(super) fn ask_first(&mut self, thread: Option<&OsThread>, until: Instant) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        if self.known.is_none() {
            self.known = stack::identify(target, &mut self.run, self.settings, until);
        } else {
            stack::follow(target, &mut self.run, self.settings);
        }
    }

    /// When the stall is to be told. `None` if it has come to its end meanwhile: what was seen of the
    /// thread then is of no use. `still`: whether it goes on.
    pub(super) fn go_on(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        still: impl Fn() -> bool,
    ) -> Option<Statement> {
        let target = thread.and_then(OsThread::target);
        let (settings, run) = (self.settings, &mut self.run);
        let shot = target.and_then(|target| Shot::take(target, run, settings, until));
        let identity = match &shot {
            Some(shot) if shot.identity().is_some() || !shot.shows_calls() => shot.identity(),
            _ => target.and_then(|target| stack::identify(target, run, settings, until)),
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

    /// At each look once it is told. `still`: whether it went on even after the look.
    pub(super) fn retry(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        still: impl Fn() -> bool,
    ) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        let shows_none = self.shot.as_ref().is_some_and(|shot| !shot.shows_calls());
        let has_time = || until.saturating_duration_since(clock::now()) >= WORTH_A_RETRY;
        if !shows_none || self.retries == 0 || !has_time() {
            stack::follow(target, &mut self.run, self.settings);
            return;
        }
        self.retries -= 1;
        let shot = Shot::take(target, &mut self.run, self.settings, until);
        if let Some(shot) = shot.filter(|shot| shot.shows_calls() && still()) {
            self.shot = Some(shot);
        }
    }

    pub(super) fn shot(&self) -> Option<Arc<Shot>> {
        self.shot.clone()
    }

    /// The stall is over, or the thread is not the one that is stuck.
    pub(super) fn end(&mut self) -> Option<Arc<Shot>> {
        self.run = Run::default();
        self.known = None;
        self.shot.take()
    }
}
