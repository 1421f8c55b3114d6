//! Asks the thread of a stuck worker which worker and task it runs, and captures its stack. How that is done:
//! `stack.rs`. Nothing here is waited for after `until`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use crate::clock;
use crate::stack::{self, Identity, OnCpuTracker, Shows, StackCapture, StackSnapshot};
use crate::stall::OsThread;

/// How often a thread that shows no stack is tried again, between two reports.
const RETRIES: u32 = 5;

/// With less time left, the retry is kept for another tick: a thread that waits for a CPU would hardly
/// answer.
const WORTH_A_RETRY: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(in crate::watchdog) struct ThreadProbe {
    settings: StackCapture,
    tracker: OnCpuTracker,
    /// The last answer of the thread.
    identity: Option<Identity>,
    /// The task that the thread polls by its last answers.
    task: Option<task::Id>,
    /// How many answers have named another task than the one before, and how many since then the same.
    changes: u32,
    repeats: u32,
    /// Whether all answers but the first have named another task than the one before.
    changes_tasks: Option<bool>,
    /// The latest snapshot that has a stack. If none has, the latest, which shows why.
    snapshot: Option<Arc<StackSnapshot>>,
    retries: u32,
}

impl ThreadProbe {
    pub(in crate::watchdog) fn new(settings: StackCapture) -> ThreadProbe {
        ThreadProbe {
            settings,
            tracker: OnCpuTracker::default(),
            identity: None,
            task: None,
            changes: 0,
            repeats: 0,
            changes_tasks: None,
            snapshot: None,
            retries: 0,
        }
    }

    /// Asks the thread, if it has not answered yet. Called at each tick: the more often, the sooner the thread
    /// may be asked.
    pub(in crate::watchdog) fn ask_first(&mut self, thread: Option<&OsThread>, until: Instant) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        if self.identity.is_none() {
            self.identity = stack::identify(target, &mut self.tracker, &self.settings, until);
        } else {
            stack::follow(target, &mut self.tracker, &self.settings);
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
            target.and_then(|target| stack::identify(target, tracker, &self.settings, until));
        identity.is_some_and(|identity| identity.worker == Some(worker))
    }

    /// Starts over with the thread that does run the worker.
    pub(in crate::watchdog) fn turn_to(&mut self, thread: &OsThread, until: Instant) {
        self.end();
        self.ask_first(Some(thread), until);
    }

    /// Whether the thread has said that it runs this worker. `None` if it could not be asked.
    pub(in crate::watchdog) fn says(&self, worker: usize) -> Option<bool> {
        self.identity
            .map(|identity| identity.worker == Some(worker))
    }

    /// The task that the thread polls by its last two answers, or by more if it has named others before.
    pub(in crate::watchdog) fn task(&self) -> Option<task::Id> {
        self.task
    }

    /// Whether stacks of the thread are taken.
    pub(in crate::watchdog) fn takes_stacks_of(&self, thread: Option<&OsThread>) -> bool {
        self.settings.taken && thread.and_then(OsThread::target).is_some()
    }

    /// Captures the thread's stack, for a report that may come only when the stall is over. If `is_stuck` is
    /// false afterwards, the stack is dropped. A thread that sleeps is not woken.
    pub(in crate::watchdog) fn take_early(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        is_stuck: impl Fn() -> bool,
    ) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        let snapshot = StackSnapshot::take(target, &mut self.tracker, &self.settings, until);
        let goes_on = is_stuck();
        self.tracker.conclude(goes_on);
        if let Some(snapshot) = snapshot.filter(|_| goes_on) {
            self.keep(snapshot);
        }
    }

    /// Captures the thread's stack, and asks the thread once more. Returns whether each answer has named another
    /// task than the one before: a task that is named twice was probably polled all the time between. If
    /// `is_stuck` is false afterwards, what was seen may be from after the stall, and is dropped.
    pub(in crate::watchdog) fn take(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        is_stuck: impl Fn() -> bool,
    ) -> bool {
        let Some(target) = thread.and_then(OsThread::target) else {
            return false;
        };
        self.take_late();
        let (settings, tracker) = (&self.settings, &mut self.tracker);
        let snapshot = StackSnapshot::take(target, tracker, settings, until);
        let identity = match &snapshot {
            Some(snapshot) if snapshot.identity().is_some() || !snapshot.shows_calls() => {
                snapshot.identity()
            }
            _ => stack::identify(target, tracker, settings, until),
        };
        let goes_on = is_stuck();
        self.tracker.conclude(goes_on);
        if !goes_on {
            return false;
        }
        self.retries = RETRIES;
        if let Some(snapshot) = snapshot {
            self.keep(snapshot);
        }
        // The task of before says nothing of the present.
        self.task = None;
        identity.is_some_and(|identity| self.compare(identity))
    }

    /// Compares an answer with the one before. Returns what `take` does.
    fn compare(&mut self, identity: Identity) -> bool {
        let Some(before) = self.identity.replace(identity) else {
            return false;
        };
        let changed = before.task != identity.task;
        if changed {
            self.changes += 1;
            self.repeats = 0;
        } else {
            self.repeats += 1;
        }
        // Where tasks take turns, the same one may be met twice.
        let is_certain = !changed && self.repeats >= self.changes;
        self.task = identity.task.filter(|_| is_certain);
        *self
            .changes_tasks
            .insert(changed && self.changes_tasks != Some(false))
    }

    /// Keeps a snapshot, unless it has no stack and the present one has.
    fn keep(&mut self, snapshot: Arc<StackSnapshot>) {
        if snapshot.shows_calls() || self.has_no_calls() {
            self.snapshot = Some(snapshot);
        }
    }

    fn has_no_calls(&self) -> bool {
        let snapshot = self.snapshot.as_ref();
        snapshot.is_none_or(|snapshot| !snapshot.shows_calls())
    }

    /// Tries again to capture a stack, at each tick after the first report, if there is none yet. If
    /// `is_stuck` is false afterwards, the stack is dropped.
    pub(in crate::watchdog) fn retry(
        &mut self,
        thread: Option<&OsThread>,
        until: Instant,
        is_stuck: impl Fn() -> bool,
    ) {
        let Some(target) = thread.and_then(OsThread::target) else {
            return;
        };
        self.take_late();
        let shows_none = self.snapshot.is_some() && self.has_no_calls();
        let has_time = || until.saturating_duration_since(clock::now()) >= WORTH_A_RETRY;
        if !shows_none || self.retries == 0 || !has_time() {
            stack::follow(target, &mut self.tracker, &self.settings);
            return;
        }
        self.retries -= 1;
        let snapshot = StackSnapshot::take(target, &mut self.tracker, &self.settings, until);
        let goes_on = is_stuck();
        self.tracker.conclude(goes_on);
        if let Some(snapshot) = snapshot.filter(|snapshot| goes_on && snapshot.shows_calls()) {
            self.snapshot = Some(snapshot);
        }
    }

    /// Takes the stack for which the thread was asked in vain, if it has answered since, as after one long system
    /// call. It shows what the thread did when it was asked; and the worker was seen to be stuck after that.
    pub(in crate::watchdog) fn take_late(&mut self) {
        let late = StackSnapshot::answered_late(&mut self.tracker, &self.settings);
        let Some(late) = late.filter(|_| self.has_no_calls()) else {
            return;
        };
        if let Some(identity) = late.identity() {
            self.compare(identity);
        }
        self.snapshot = Some(late);
    }

    pub(in crate::watchdog) fn snapshot(&self) -> Option<Arc<StackSnapshot>> {
        self.snapshot.clone()
    }

    /// What the stack shows, once it has been resolved.
    pub(in crate::watchdog) fn stack_shows(&self) -> Option<Shows> {
        self.snapshot.as_ref()?.trace()?.shows()
    }

    /// Forgets everything, as the thread does not run the worker.
    pub(in crate::watchdog) fn end(&mut self) {
        *self = ThreadProbe::new(self.settings.clone());
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_is_named_once_it_was_met_as_often_as_others() {
        let [a, b, c] = [(); 3].map(|()| tokio::spawn(async {}).id());
        for (answers, named) in [
            (&[a][..], None),
            (&[a, a], Some(a)),
            (&[a, b], None),
            (&[a, b, b], Some(b)),
            (&[a, b, c, c], None),
            (&[a, b, c, c, c], Some(c)),
        ] {
            let mut probe = ThreadProbe::new(StackCapture::new());
            for task in answers {
                probe.compare(Identity {
                    worker: Some(0),
                    task: Some(*task),
                });
            }
            assert_eq!(probe.task(), named, "{answers:?}");
        }
    }
}
