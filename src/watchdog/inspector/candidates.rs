//! The threads that may run a worker that is stuck: those of the same kind, and what they do meanwhile. One
//! record of them: `census.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::census::Census;
use crate::procfs::{Thread, Times};
use crate::stack::OnCpuTracker;
use crate::stall::{Cause, OsThread};

/// How many threads are asked at a time.
const MOST_ASKED: usize = 4;

/// How often, and how far apart, to see whether a thread rests that has just ended a long poll.
const CHECKS_AT_THE_END: u32 = 3;
const BETWEEN_CHECKS: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Taken before the worker became stuck.
    before: Option<Arc<Census>>,
    /// Taken when the worker was first suspected.
    first: Option<Arc<Census>>,
    /// Taken when the worker was last seen to be stuck.
    last: Option<Arc<Census>>,
    /// A thread on which a worker was observed.
    like: Option<OsThread>,
    /// What the threads did that may be asked.
    trackers: HashMap<u32, OnCpuTracker>,
}

impl Candidates {
    pub(super) fn new(before: Option<Arc<Census>>) -> Candidates {
        Candidates {
            before,
            ..Candidates::default()
        }
    }

    /// The candidates are the threads whose name is that of `like`, but for a number.
    pub(super) fn begin(
        &mut self,
        like: Option<OsThread>,
        take: impl FnOnce(u32) -> Option<Arc<Census>>,
    ) {
        self.first = like.as_ref().and_then(|like| take(like.id?));
        self.like = like;
    }

    /// Takes a census while the worker is stuck, later than the first. `is_stuck`: whether it still is, after the
    /// census.
    pub(super) fn update(
        &mut self,
        take: impl FnOnce(u32, Option<Instant>) -> Option<Arc<Census>>,
        is_stuck: impl Fn() -> bool,
    ) {
        let since = self.first.as_ref().map(|first| first.taken_at);
        let census = self.like.as_ref().and_then(|like| take(like.id?, since));
        if is_stuck() {
            self.last = census;
        }
    }

    /// Forgets what may be from after the worker went on.
    pub(super) fn forget(&mut self) {
        (self.first, self.last) = (None, None);
    }

    fn pair(&self) -> Option<(&Census, &Census)> {
        self.first.as_deref().zip(self.last.as_deref())
    }

    /// Whether there was no other thread of the kind when the worker was first suspected.
    pub(super) fn is_alone(&self) -> bool {
        self.first
            .as_ref()
            .is_some_and(|first| first.has_only_one())
    }

    /// The one thread of the kind that is not known to run another worker, if there is just one.
    pub(super) fn only_one_left(&self, is_worker: impl Fn(u32) -> bool) -> Option<OsThread> {
        let only = self.first.as_ref()?.only_one_but(is_worker)?;
        Some(known(only, self.like.as_ref()?))
    }

    /// Whether another thread may run the worker, as this one sleeps: one that has run since the worker's
    /// counters last moved, is not idle, and on which no worker was observed, of any runtime.
    pub(super) fn has_rival(&self, thread: Option<u32>, is_worker: impl Fn(u32) -> bool) -> bool {
        let ran_throughout = self.pair().is_some_and(|(first, last)| {
            let mut ran = first.ran_throughout(last);
            ran.any(|id| Some(id) == thread)
        });
        if ran_throughout {
            return false;
        }
        let Some(latest) = self.last.as_ref().or(self.first.as_ref()) else {
            return false;
        };
        let busy = latest.busy_since(self.before.as_deref());
        busy.iter().any(|id| Some(*id) != thread && !is_worker(*id))
    }

    /// The one thread that ran between a time before the worker's counters last moved and the suspicion, if
    /// no other did.
    pub(super) fn only_one_that_ran(&self) -> Option<u32> {
        self.before
            .as_ref()?
            .only_one_that_ran(self.first.as_deref()?)
    }

    /// Of the threads that have run all the time, the one that says that it runs the worker, and its times
    /// when the worker was first suspected. Does not ask the thread `asked`, which is asked anyway.
    pub(super) fn find(
        &mut self,
        asked: Option<u32>,
        mut says_so: impl FnMut(&OsThread, &mut OnCpuTracker) -> bool,
    ) -> Option<(OsThread, Times, Instant)> {
        let (first, last) = self.first.as_deref().zip(self.last.as_deref())?;
        let like = self.like.as_ref()?;
        let ran = first.ran_throughout(last).filter(|id| Some(*id) != asked);
        let ran: Vec<_> = ran.take(MOST_ASKED).collect();
        for id in ran {
            let thread = known(id, like);
            if says_so(&thread, self.trackers.entry(id).or_default()) {
                let times = first.times(id)?;
                return Some((thread, times, first.taken_at));
            }
        }
        None
    }

    /// The one thread that ran all the time while the worker was stuck, and rests now that the worker has
    /// gone on, if there is just one; and why it was not back sooner.
    pub(super) fn only_one_that_rests_now(&self) -> Option<(OsThread, Cause)> {
        let (first, last) = self.pair()?;
        first.ran_throughout(last).next()?;
        for check in 0..CHECKS_AT_THE_END {
            if check > 0 {
                sleep(BETWEEN_CHECKS);
            }
            if let Some((id, cause)) = first.only_one_that_rests_now(last) {
                return Some((known(id, self.like.as_ref()?), cause));
            }
        }
        None
    }
}

/// A thread without a worker observed on it, in the same process and pid namespace as one with.
fn known(id: u32, like: &OsThread) -> OsThread {
    let name = Thread(id).name().map(|name| Arc::from(name.text()));
    OsThread::of_id(id, name, like)
}
