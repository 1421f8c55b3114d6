//! The censuses of all runtimes. One serves all workers that are stuck at the time, as it takes the longer, the more
//! threads there are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::census::Census;
use crate::clock;
use crate::watchdog::messages::Stamp;
use crate::watchdog::subject::Subject;

/// One part in so many of the time goes into censuses from before a stall, at the most, and into those of one.
const SHARE_BEFORE: u32 = 200;
const SHARE: u32 = 10;

/// How long after an attempt that failed there is no other: there may be too many threads.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Censuses(HashMap<*const Subject, OfRuntime>);

#[derive(Debug, Default)]
struct OfRuntime {
    /// The last two that were taken while no worker was known to be stuck, the older one first.
    before: [Option<Arc<Census>>; 2],
    /// The last one that was taken for a stuck worker.
    latest: Option<Arc<Census>>,
    /// When the last attempt failed, if it did.
    failed_at: Option<Instant>,
}

impl Censuses {
    /// Takes one for the workers that may become stuck.
    pub(super) fn prepare(&mut self, subject: &Arc<Subject>) {
        let like = subject.worker_threads().thread_like(0);
        let [older, newer] = &mut self.of(subject).before;
        if is_older(newer.as_deref(), SHARE_BEFORE, Duration::ZERO) {
            if let Some(census) = like.and_then(|like| Census::take(like.id?)) {
                *older = newer.replace(Arc::new(census));
            }
        }
    }

    /// The last one from before the workers that are stuck now became stuck.
    pub(super) fn before(&self, subject: &Arc<Subject>, at: Stamp) -> Option<Arc<Census>> {
        let [older, newer] = &self.0.get(&Arc::as_ptr(subject))?.before;
        // They are stuck for half the threshold, and a tick more at the most.
        let stuck_for = subject.threshold / 2 + 2 * subject.tick();
        let age = |census: &Census| at.system.saturating_duration_since(census.taken_at);
        let is_before = |census: &&Arc<Census>| age(census) > stuck_for;
        newer.as_ref().filter(is_before).or(older.as_ref()).cloned()
    }

    /// One of the threads like this one, from just now, and from after `since`.
    pub(super) fn latest(
        &mut self,
        subject: &Arc<Subject>,
        like: u32,
        since: Option<Instant>,
    ) -> Option<Arc<Census>> {
        let tick = subject.tick();
        let of = self.of(subject);
        let failed = of
            .failed_at
            .map(|at| clock::now().saturating_duration_since(at));
        if failed.is_some_and(|ago| ago < AFTER_FAILURE) {
            return None;
        }
        let serves =
            |census: &&Arc<Census>| Some(census.taken_at) > since && census.times(like).is_some();
        let last = of.latest.as_ref().filter(serves);
        if is_older(last.map(Arc::as_ref), SHARE, tick / 2) {
            of.latest = Census::take(like).map(Arc::new);
            of.failed_at = of.latest.is_none().then(clock::now);
        }
        of.latest.clone()
    }

    pub(super) fn forget(&mut self, subject: &Arc<Subject>) {
        self.0.remove(&Arc::as_ptr(subject));
    }

    fn of(&mut self, subject: &Arc<Subject>) -> &mut OfRuntime {
        self.0.entry(Arc::as_ptr(subject)).or_default()
    }
}

/// Whether it is time for another census: there is none, or it is old enough for its cost.
fn is_older(last: Option<&Census>, share: u32, age: Duration) -> bool {
    last.is_none_or(|last| {
        let passed = clock::now().saturating_duration_since(last.taken_at);
        passed >= age.max(last.cost * share)
    })
}
