//! The stalls that may still change: those that go on, and the last that have ended. Pure.
//!
//! A poll of an instrumented future on a watched worker is two stalls, which are reported in any order. Its time
//! is the future's, which is more specific; the worker has the rest, if that is a stall by itself. The same
//! is true of a root future. Whether they share a thread, the reports say; where they do not, each has its time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::culprit::Tally;
use crate::stack::StackSnapshot;
use crate::stall::{OsThread, Phase, Place, Stall, StallId};

/// How many stalls that have ended wait for reports of others on their thread.
pub(super) const KEPT: usize = 64;

/// How many stalls that go on are counted while they do. Further ones are counted at their end.
pub(super) const MOST_OPEN: usize = 512;

/// There is room for so many stalls that go on before the program's allocator is needed, in which a thread may be
/// stuck.
const ROOM: usize = 32;

/// The number of a run of the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run(pub(super) u64);

/// A stall as it was reported last.
#[derive(Debug, Clone)]
struct Entry {
    stall: Stall,
    /// Its stack, which was not resolved when it was reported.
    late: Option<Arc<StackSnapshot>>,
    run: Run,
    has_ended: bool,
    /// Its time that is that of futures which are not pending any more.
    covered: Duration,
    /// What an account has had that was reset since.
    settled: Tally,
}

/// What a stall costs its culprit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// What no account has had so far.
    pub(super) new: Tally,
    /// Its time that is the culprit's.
    pub(super) lasted: Duration,
}

#[derive(Debug)]
pub(super) struct Pending {
    /// Below it, what is left of a stall is none.
    threshold: Duration,
    open: HashMap<StallId, Entry>,
    ended: VecDeque<Entry>,
    /// How many of both are those of futures, and how many are not.
    futures: usize,
    others: usize,
}

impl Entry {
    /// Takes over what an earlier report has shown.
    fn follow(&mut self, earlier: Entry) {
        self.run = earlier.run;
        self.covered = earlier.covered;
        self.settled = earlier.settled;
        let (now, before) = (&mut self.stall, earlier.stall);
        let shows_nothing = now.trace.is_none() && self.late.is_none();
        if shows_nothing && is_same_thread(now.thread.as_ref(), before.thread.as_ref()) {
            now.trace = before.trace;
            self.late = earlier.late;
        }
    }

    /// The stall, with its stack if that is resolved by now.
    fn known(&self) -> Stall {
        let mut stall = self.stall.clone();
        if stall.trace.is_none() {
            stall.trace = self.late.as_ref().and_then(|late| late.trace());
        }
        stall
    }

    fn is_future(&self) -> bool {
        matches!(self.stall.place, Place::Future(_))
    }

    /// From when to when, in nanoseconds of the wall clock.
    fn span(&self) -> (i128, i128) {
        let began = i128::from(self.stall.began_at.timestamp_micros()) * 1_000;
        let lasted = i128::try_from(self.stall.duration.as_nanos()).unwrap_or(i128::MAX / 2);
        (began, began.saturating_add(lasted))
    }

    /// The time that a stall of a future has in common with this, which is none of a future.
    fn shared_with(&self, future: &Entry) -> Duration {
        if !is_same_thread(self.stall.thread.as_ref(), future.stall.thread.as_ref()) {
            return Duration::ZERO;
        }
        let ((began, ended), (from, to)) = (self.span(), future.span());
        let ended = if self.has_ended { ended } else { i128::MAX };
        let shared = to.min(ended).saturating_sub(from.max(began));
        Duration::from_nanos(u64::try_from(shared.max(0)).unwrap_or(u64::MAX))
    }

    fn cost(&self, covered: Duration, threshold: Duration) -> Cost {
        let covered = self.covered.saturating_add(covered);
        let rest = self.stall.duration.saturating_sub(covered);
        let is_stall = covered.is_zero() || rest >= threshold;
        let lasted = if is_stall { rest } else { Duration::ZERO };
        Cost {
            new: Tally {
                stalls: u64::from(is_stall).saturating_sub(self.settled.stalls),
                total: lasted.saturating_sub(self.settled.total),
            },
            lasted,
        }
    }
}

fn is_same_thread(one: Option<&OsThread>, other: Option<&OsThread>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    match (one.id, other.id) {
        (Some(one), Some(other)) => one == other,
        _ => one.number() > 0 && one.number() == other.number(),
    }
}

impl Pending {
    pub(super) fn new(threshold: Duration) -> Pending {
        Pending {
            threshold,
            open: HashMap::new(),
            ended: VecDeque::new(),
            futures: 0,
            others: 0,
        }
    }

    /// Makes room for reports.
    pub(super) fn make_room(&mut self) {
        self.open.reserve(ROOM.saturating_sub(self.open.len()));
        // One more than is kept, for a moment.
        self.ended
            .reserve((KEPT + 1).saturating_sub(self.ended.len()));
    }

    /// Applies a report.
    pub(super) fn report(&mut self, run: Run, stall: &Stall, late: Option<Arc<StackSnapshot>>) {
        let known = self.open.remove(&stall.id);
        let has_ended = stall.phase == Phase::Ended;
        if known.is_none() {
            self.end_those_before(stall);
            if !has_ended && self.open.len() >= MOST_OPEN {
                return;
            }
        }
        let mut entry = Entry {
            stall: stall.clone(),
            late,
            run,
            has_ended,
            covered: Duration::ZERO,
            settled: Tally::default(),
        };
        match known {
            Some(known) => entry.follow(known),
            None => *self.count(&entry) += 1,
        }
        if has_ended {
            self.ended.push_back(entry);
        } else {
            self.open.insert(stall.id, entry);
        }
    }

    fn count(&mut self, entry: &Entry) -> &mut usize {
        if entry.is_future() {
            &mut self.futures
        } else {
            &mut self.others
        }
    }

    /// A worker is in one stall at a time, so an earlier one has ended and the report of that was lost.
    fn end_those_before(&mut self, stall: &Stall) {
        if !matches!(stall.place, Place::Future(_)) {
            self.end_all(|entry| entry.stall.place == stall.place);
        }
    }

    /// The ends of these stalls will not be reported.
    fn end_all(&mut self, which: impl Fn(&Entry) -> bool) {
        let over = self.open.values().filter(|entry| which(entry));
        let over: Vec<_> = over.map(|entry| entry.stall.id).collect();
        for id in over {
            if let Some(entry) = self.open.remove(&id) {
                self.ended.push_back(Entry {
                    has_ended: true,
                    ..entry
                });
            }
        }
    }

    /// Nothing more is reported in this run.
    pub(super) fn end(&mut self, run: Run) {
        self.end_all(|entry| entry.run == run);
    }

    /// Takes out the oldest stall that has ended, if there are more than are kept.
    pub(super) fn pop(&mut self) -> Option<(Stall, Cost)> {
        if self.ended.len() <= KEPT {
            return None;
        }
        let entry = self.ended.pop_front()?;
        let cost = self.cost(&entry);
        *self.count(&entry) -= 1;
        if entry.is_future() && self.others > 0 {
            let all = self.open.values_mut().chain(&mut self.ended);
            for other in all.filter(|other| !other.is_future()) {
                other.covered = other.covered.saturating_add(other.shared_with(&entry));
            }
        }
        Some((entry.known(), cost))
    }

    fn cost(&self, entry: &Entry) -> Cost {
        let mut covered = Duration::ZERO;
        if !entry.is_future() && self.futures > 0 {
            for future in self.entries().filter(|other| other.is_future()) {
                covered = covered.saturating_add(entry.shared_with(future));
            }
        }
        entry.cost(covered, self.threshold)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.open.values().chain(&self.ended)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len() + self.ended.len()
    }

    /// Copies all that is pending.
    pub(super) fn copy(&self, copies: &mut Vec<(Stall, Cost)>) {
        let copy = |entry: &Entry| (entry.known(), self.cost(entry));
        copies.extend(self.entries().map(copy));
    }

    /// What was copied is another account's.
    pub(super) fn settle(&mut self, copies: &[(Stall, Cost)]) {
        let entries = self.open.values_mut().chain(&mut self.ended);
        for (entry, (_, cost)) in entries.zip(copies) {
            entry.settled.add(cost.new);
        }
    }
}
