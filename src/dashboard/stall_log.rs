//! The last stalls of one monitor, as the page lists them. Pure: the time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::stack::StackTrace;
use crate::stall::{Cause, Phase, Place, Stall, StallId};

/// How many stalls are kept.
pub(super) const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct StallLog {
    stalls: VecDeque<Entry>,
    /// Counts the stalls that had to go.
    pub(super) dropped: u64,
    /// Counts the reports that were lost on the way here.
    pub(super) missed: u64,
}

/// A stall as it was reported last, without its stack.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: StallId,
    pub(super) place: Place,
    pub(super) cause: Cause,
    pub(super) culprit: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) task: Option<String>,
    /// Milliseconds since 1970.
    pub(super) began_at: i64,
    duration: Duration,
    reported_at: Instant,
    pub(super) is_open: bool,
}

impl Entry {
    pub(super) fn new(stall: &Stall, now: Instant) -> Entry {
        let culprit = stall.trace.as_deref().and_then(StackTrace::culprit);
        Entry {
            id: stall.id,
            place: stall.place.clone(),
            cause: stall.cause,
            culprit: culprit.map(|culprit| culprit.brief().to_string()),
            thread: stall.thread.as_ref().map(ToString::to_string),
            task: stall.task.map(|task| task.to_string()),
            began_at: stall.began_at.timestamp_millis(),
            duration: stall.duration,
            reported_at: now,
            is_open: stall.phase != Phase::Ended,
        }
    }

    /// For how long it has certainly lasted by now: at twice its duration, the next report is due.
    pub(super) fn lasted(&self, now: Instant) -> Duration {
        if !self.is_open {
            return self.duration;
        }
        let since = now.saturating_duration_since(self.reported_at);
        self.duration.saturating_add(since.min(self.duration))
    }
}

impl StallLog {
    /// Applies a report. Returns the stall as it is now.
    pub(super) fn report(&mut self, stall: &Stall, now: Instant) -> &Entry {
        self.missed = self.missed.saturating_add(stall.missed);
        let mut new = Entry::new(stall, now);
        let known = self.stalls.iter().rposition(|entry| entry.id == new.id);
        if let Some(index) = known {
            let known = &mut self.stalls[index];
            new.culprit = new.culprit.or(known.culprit.take());
            *known = new;
            return known;
        }
        if !matches!(new.place, Place::Future(_)) {
            // The end of an earlier one was lost.
            self.close(|entry| entry.place == new.place);
        }
        if self.stalls.len() == MOST {
            self.stalls.pop_front();
            self.dropped += 1;
        }
        self.stalls.push_back(new);
        &self.stalls[self.stalls.len() - 1]
    }

    /// The ends of these stalls will not be reported.
    pub(super) fn close(&mut self, which: impl Fn(&Entry) -> bool) {
        let open = self.stalls.iter_mut().filter(|entry| entry.is_open);
        open.filter(|entry| which(entry))
            .for_each(|entry| entry.is_open = false);
    }

    /// The stalls, the newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.stalls.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn stall(worker: usize, phase: Phase, lasted: Duration) -> Stall {
        Stall {
            duration: lasted,
            ..Stall::of(worker, phase)
        }
    }

    #[test]
    fn a_stall_grows_while_it_lasts_as_far_as_is_certain() {
        let (mut log, now) = (StallLog::default(), clock::now());
        let mut one = stall(0, Phase::Started, SECOND);
        log.report(&one, now);
        let lasted = |log: &StallLog, at| log.iter().next().unwrap().lasted(now + at);
        assert_eq!(lasted(&log, SECOND / 2), SECOND * 3 / 2);
        assert_eq!(lasted(&log, SECOND * 9), SECOND * 2);
        one.phase = Phase::Ended;
        one.duration = SECOND * 3;
        log.report(&one, now + SECOND * 2);
        assert_eq!(lasted(&log, SECOND * 9), SECOND * 3);
        assert_eq!(log.iter().count(), 1);
    }

    #[test]
    fn a_lost_end_comes_with_the_next_of_the_worker_or_the_end_of_the_run() {
        let (mut log, now) = (StallLog::default(), clock::now());
        for worker in [0, 1, 0] {
            log.report(&stall(worker, Phase::Started, SECOND), now);
        }
        let open = |log: &StallLog| log.iter().filter(|entry| entry.is_open).count();
        assert_eq!(open(&log), 2);
        log.close(|_| true);
        assert_eq!(open(&log), 0);
    }

    #[test]
    fn is_bounded() {
        let (mut log, now) = (StallLog::default(), clock::now());
        for _ in 0..MOST + 7 {
            log.report(&stall(0, Phase::Ended, SECOND), now);
        }
        assert_eq!((log.iter().count(), log.dropped), (MOST, 7));
    }
}
