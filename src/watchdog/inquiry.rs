//! What the thread of a worker that stands still is asked: which worker and task it runs, and its
//! stack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use crate::clock;
use crate::stack::{self, Identity, Run, Shot, Shows, StackTraces};
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
    /// What the thread said when it answered last.
    known: Option<Identity>,
    /// The task that it has said to poll both times that it was asked last.
    task: Option<task::Id>,
    /// The latest that shows a stack; or that shows why not, if there is none.
    shot: Option<Arc<Shot>>,
    retries: u32,
}

/// After `until` nothing is waited for.
impl Inquiry {
    pub(super) fn new(settings: StackTraces) -> Inquiry {
        Inquiry {
            settings,
            run: Run::default(),
            known: None,
            task: None,
            shot: None,
            retries: 0,
        }
    }

    /// At each look until it is known who the thread is: the more often, the sooner it may be asked.
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

    /// Whether another thread says that it runs the worker.
    pub(super) fn would_say(
        &self,
        thread: &OsThread,
        run: &mut Run,
        worker: usize,
        until: Instant,
    ) -> bool {
        let target = thread.target();
        let identity = target.and_then(|target| stack::identify(target, run, self.settings, until));
        identity.is_some_and(|identity| identity.worker == Some(worker))
    }

    /// It is another thread that runs the worker.
    pub(super) fn turn_to(&mut self, thread: &OsThread, until: Instant) {
        self.end();
        self.ask_first(Some(thread), until);
    }

    /// Whether the thread has said that it runs this worker. `None` if it could not be asked.
    pub(super) fn says(&self, worker: usize) -> Option<bool> {
        self.known.map(|known| known.worker == Some(worker))
    }

    /// The task that the thread has said to poll both times that it was asked last.
    pub(super) fn task(&self) -> Option<task::Id> {
        self.task
    }

    /// Whether there is something to be taken.
    pub(super) fn takes_stacks_of(&self, thread: Option<&OsThread>) -> bool {
        self.settings.taken && thread.and_then(OsThread::target).is_some()
    }

    /// Takes its stack, and asks once more who it is. `still`: whether the stall goes on; what was seen
    /// of the thread after its end is of no use. Returns whether it polls another task than before.
    pub(super) fn take(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        still: impl Fn() -> bool,
    ) -> bool {
        let Some(target) = thread.and_then(OsThread::target) else {
            return false;
        };
        let (settings, run) = (self.settings, &mut self.run);
        let shot = Shot::take(target, run, settings, until);
        let identity = match &shot {
            Some(shot) if shot.identity().is_some() || !shot.shows_calls() => shot.identity(),
            _ => stack::identify(target, run, settings, until),
        };
        if !still() {
            return false;
        }
        self.retries = RETRIES;
        if let Some(shot) = shot {
            self.keep(shot);
        }
        // What it was at before says nothing of the present.
        self.task = None;
        let Some(identity) = identity else {
            return false;
        };
        let Some(before) = self.known.replace(identity) else {
            return false;
        };
        self.task = identity.task.filter(|task| before.task == Some(*task));
        before.task != identity.task
    }

    /// The latest that shows a stack, or else the latest that says why not.
    fn keep(&mut self, shot: Arc<Shot>) {
        let has_none = self.shot.as_ref().is_none_or(|shot| !shot.shows_calls());
        if shot.shows_calls() || has_none {
            self.shot = Some(shot);
        }
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

    /// What the stack shows, once it has been read.
    pub(super) fn stack_shows(&self) -> Option<Shows> {
        self.shot.as_ref()?.trace()?.shows()
    }

    pub(super) fn has_handed_over(&self) -> bool {
        self.stack_shows() == Some(Shows::HandedOver)
    }

    /// What was found out is of a thread that is not the worker's.
    pub(super) fn end(&mut self) {
        *self = Inquiry::new(self.settings);
    }
}
