//! What the thread of a worker that stands still is asked: which worker and task it runs, and its
//! stack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use crate::clock;
use crate::stack::{self, Identity, OnCpuTracker, Shows, StackCapture, StackSnapshot};
use crate::stall::OsThread;

/// How often a thread that shows no stack is tried again between two reports.
const RETRIES: u32 = 5;

/// With less time left the retry is kept for another look: a thread that waits for a CPU would hardly
/// answer.
const WORTH_A_RETRY: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(in crate::watchdog) struct ThreadProbe {
    settings: StackCapture,
    /// What the thread has been seen to do since it is suspected.
    tracker: OnCpuTracker,
    /// What the thread said when it answered last.
    known: Option<Identity>,
    /// The task that it has said to poll both times that it was asked last.
    task: Option<task::Id>,
    /// The latest that shows a stack; or that shows why not, if there is none.
    snapshot: Option<Arc<StackSnapshot>>,
    retries: u32,
}

/// After `until` nothing is waited for.
impl ThreadProbe {
    pub(in crate::watchdog) fn new(settings: StackCapture) -> ThreadProbe {
        ThreadProbe {
            settings,
            tracker: OnCpuTracker::default(),
            known: None,
            task: None,
            snapshot: None,
            retries: 0,
        }
    }

    /// At each look until it is known who the thread is: the more often, the sooner it may be asked.
    pub(in crate::watchdog) fn ask_first(&mut self, thread: Option<&OsThread>, until: Instant) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        if self.known.is_none() {
            self.known = stack::identify(target, &mut self.tracker, self.settings, until);
        } else {
            stack::follow(target, &mut self.tracker, self.settings);
        }
    }

    /// Whether another thread says that it runs the worker.
    pub(in crate::watchdog) fn would_say(
        &self,
        thread: &OsThread,
        tracker: &mut OnCpuTracker,
        worker: usize,
        until: Instant,
    ) -> bool {
        let target = thread.target();
        let identity =
            target.and_then(|target| stack::identify(target, tracker, self.settings, until));
        identity.is_some_and(|identity| identity.worker == Some(worker))
    }

    /// It is another thread that runs the worker.
    pub(in crate::watchdog) fn turn_to(&mut self, thread: &OsThread, until: Instant) {
        self.end();
        self.ask_first(Some(thread), until);
    }

    /// Whether the thread has said that it runs this worker. `None` if it could not be asked.
    pub(in crate::watchdog) fn says(&self, worker: usize) -> Option<bool> {
        self.known.map(|known| known.worker == Some(worker))
    }

    /// The task that the thread has said to poll both times that it was asked last.
    pub(in crate::watchdog) fn task(&self) -> Option<task::Id> {
        self.task
    }

    /// Whether there is something to be taken.
    pub(in crate::watchdog) fn takes_stacks_of(&self, thread: Option<&OsThread>) -> bool {
        self.settings.taken && thread.and_then(OsThread::target).is_some()
    }

    /// Takes its stack, and asks once more who it is. `still`: whether the stall goes on; what was seen
    /// of the thread after its end is of no use. Returns whether it polls another task than before.
    pub(in crate::watchdog) fn take(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        still: impl Fn() -> bool,
    ) -> bool {
        let Some(target) = thread.and_then(OsThread::target) else {
            return false;
        };
        let (settings, tracker) = (self.settings, &mut self.tracker);
        let snapshot = StackSnapshot::take(target, tracker, settings, until);
        let identity = match &snapshot {
            Some(snapshot) if snapshot.identity().is_some() || !snapshot.shows_calls() => {
                snapshot.identity()
            }
            _ => stack::identify(target, tracker, settings, until),
        };
        if !still() {
            return false;
        }
        self.retries = RETRIES;
        if let Some(snapshot) = snapshot {
            self.keep(snapshot);
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
    fn keep(&mut self, snapshot: Arc<StackSnapshot>) {
        let has_none = self
            .snapshot
            .as_ref()
            .is_none_or(|snapshot| !snapshot.shows_calls());
        if snapshot.shows_calls() || has_none {
            self.snapshot = Some(snapshot);
        }
    }

    /// At each look once it is told. `still`: whether it went on even after the look.
    pub(in crate::watchdog) fn retry(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        still: impl Fn() -> bool,
    ) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        let shows_none = self
            .snapshot
            .as_ref()
            .is_some_and(|snapshot| !snapshot.shows_calls());
        let has_time = || until.saturating_duration_since(clock::now()) >= WORTH_A_RETRY;
        if !shows_none || self.retries == 0 || !has_time() {
            stack::follow(target, &mut self.tracker, self.settings);
            return;
        }
        self.retries -= 1;
        let snapshot = StackSnapshot::take(target, &mut self.tracker, self.settings, until);
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.shows_calls() && still()) {
            self.snapshot = Some(snapshot);
        }
    }

    pub(in crate::watchdog) fn snapshot(&self) -> Option<Arc<StackSnapshot>> {
        self.snapshot.clone()
    }

    /// What the stack shows, once it has been read.
    pub(in crate::watchdog) fn stack_shows(&self) -> Option<Shows> {
        self.snapshot.as_ref()?.trace()?.shows()
    }

    pub(in crate::watchdog) fn has_handed_over(&self) -> bool {
        self.stack_shows() == Some(Shows::HandedOver)
    }

    /// What was found out is of a thread that is not the worker's.
    pub(in crate::watchdog) fn end(&mut self) {
        *self = ThreadProbe::new(self.settings);
    }
}
