//! The other threads of the kind that runs a worker, while it stands still.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::census::Census;
use crate::procfs::{Thread, Times};
use crate::stack::OnCpuTracker;
use crate::stall::{Cause, OsThread};

/// How many of them are asked at a time.
const MOST_ASKED: usize = 4;

/// How often, and how far apart, the end is waited for of who has just ended a long poll.
const LOOKS_AT_THE_END: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Before the worker came to stand still.
    before: Option<Census>,
    /// When it was first suspected.
    first: Option<Census>,
    /// When it was last seen to stand still.
    last: Option<Census>,
    /// One that has been met as a worker.
    like: Option<OsThread>,
    /// What those have been seen to do that may be asked.
    runs: HashMap<u32, OnCpuTracker>,
}

impl Candidates {
    pub(super) fn new(before: Option<Census>) -> Candidates {
        Candidates {
            before,
            ..Candidates::default()
        }
    }

    /// They are those whose name is that of `like`, but for a number.
    pub(super) fn begin(&mut self, like: Option<OsThread>) {
        self.like = like;
        self.first = self.census();
    }

    /// While it stands still. `still`: whether it did so even after the look.
    pub(super) fn look(&mut self, still: impl Fn() -> bool) {
        let census = self.census();
        if still() {
            self.last = census;
        }
    }

    /// What was seen is of another time.
    pub(super) fn forget(&mut self) {
        (self.first, self.last) = (None, None);
    }

    fn census(&self) -> Option<Census> {
        Census::take(self.like.as_ref()?.id?)
    }

    fn pair(&self) -> Option<(&Census, &Census)> {
        self.first.as_ref().zip(self.last.as_ref())
    }

    /// Whether another thread may be the one, as this one sleeps: it has run since the worker last moved,
    /// is at something, and has not been met as a worker's.
    pub(super) fn has_rival(&self, thread: Option<u32>, is_worker: impl Fn(u32) -> bool) -> bool {
        let Some((first, last)) = self.pair() else {
            return false;
        };
        if thread.is_some_and(|thread| first.ran_throughout(last).any(|id| id == thread)) {
            return false;
        }
        let busy = last.busy_since(self.before.as_ref());
        busy.iter().any(|id| Some(*id) != thread && !is_worker(*id))
    }

    /// The one that had run between a time before the worker last moved and the suspicion, if all others
    /// had not.
    pub(super) fn only_one_that_ran(&self) -> Option<u32> {
        self.before
            .as_ref()?
            .only_one_that_ran(self.first.as_ref()?)
    }

    /// The one that says it runs the worker, of those that have run all the time, but for the one that
    /// is asked anyway; with what it had done when the worker was first suspected.
    pub(super) fn find(
        &mut self,
        asked: Option<u32>,
        mut says_so: impl FnMut(&OsThread, &mut OnCpuTracker) -> bool,
    ) -> Option<(OsThread, Times, Instant)> {
        let (first, last) = self.first.as_ref().zip(self.last.as_ref())?;
        let like = self.like.as_ref()?;
        let ran = first.ran_throughout(last).filter(|id| Some(*id) != asked);
        let ran: Vec<_> = ran.take(MOST_ASKED).collect();
        for id in ran {
            let thread = known(id, like);
            if says_so(&thread, self.runs.entry(id).or_default()) {
                let times = first.times(id)?;
                return Some((thread, times, first.taken_at));
            }
        }
        None
    }

    /// The one that ran without a rest while the worker stood still, and rests now that the worker has
    /// gone on, if there is just one; and why it was not back sooner.
    pub(super) fn only_one_that_rests_now(&self) -> Option<(OsThread, Cause)> {
        let (first, last) = self.pair()?;
        first.ran_throughout(last).next()?;
        for look in 0..LOOKS_AT_THE_END {
            if look > 0 {
                sleep(BETWEEN_LOOKS);
            }
            if let Some((id, cause)) = first.only_one_that_rests_now(last) {
                return Some((known(id, self.like.as_ref()?), cause));
            }
        }
        None
    }
}

/// A thread that has not been met, of the same process and pid namespace as one that has.
fn known(id: u32, like: &OsThread) -> OsThread {
    let name = Thread(id).name().map(|name| Arc::from(name.text()));
    OsThread::of_id(id, name, like)
}
