//! Which stalls fail a test: those that the code is to blame for, by evidence. Pure: what is known is passed in.
//!
//! A stall lasts by the clock, which also runs while the thread waits for a CPU. So what the thread has waited is
//! subtracted, and what it was allowed to block. A watched future's polls are measured by their threads. Of
//! a worker, the watchdog has evidence from half the threshold on; the thread counts as having waited as much, in
//! proportion, before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::long_polls::LongPoll;
use crate::stall::{Cause, Phase, Place, Share, Stall};

/// All that is known beside the reports.
pub(super) struct Knowledge<'a> {
    pub(super) threshold: Duration,
    /// When the code under test was over.
    pub(super) over: Instant,
    /// The long polls of the watched future.
    pub(super) polls: &'a [LongPoll],
    /// For how long a thread was allowed to block between two times.
    pub(super) allowed: &'a dyn Fn(u32, Instant, Instant) -> Duration,
    /// For how long the process was paused between two times.
    pub(super) paused: &'a dyn Fn(Instant, Instant) -> Duration,
    /// Whether the system reports what threads do.
    pub(super) has_evidence: bool,
}

/// A stall with all its reports. A poll that was over before the watchdog could look may have none.
pub(super) struct Seen {
    pub(super) verdict: Verdict,
    pub(super) place: Place,
    pub(super) reports: Vec<Stall>,
}

/// What is to be said of one stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The code under test has blocked for so long.
    Blocks {
        cause: Cause,
        lasted: Duration,
    },
    Excused(Excuse),
}

/// Why a stall fails no test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Excuse {
    /// Without waiting for a CPU, it would not have lasted for the threshold.
    Starved,
    /// Nobody ran the worker.
    Unattended,
    /// What the thread did is not known.
    Unknown,
    /// It was allowed there and then.
    Region,
    /// It is that of a poll of the watched future, which is judged by itself.
    SamePoll,
}

impl Knowledge<'_> {
    /// Judges all stalls. Each has its reports, in their order.
    pub(super) fn judge(&self, stalls: Vec<Vec<Stall>>) -> Vec<Seen> {
        let of_poll = |stalls: &Vec<Stall>| {
            let last = stalls.last();
            last.is_some_and(|last| matches!(last.place, Place::Future(_)))
        };
        let (mut of_polls, others): (Vec<_>, Vec<_>) = stalls.into_iter().partition(of_poll);
        let mut seen = Vec::new();
        for poll in self.polls {
            let is_in = |at: &Instant| poll.began <= *at && *at <= poll.ended;
            let is_its = |reports: &Vec<Stall>| {
                let mut at = reports.iter().filter_map(|report| report.measured.at);
                at.any(|at| is_in(&at))
            };
            let its = of_polls.iter().position(is_its);
            let reports = its.map_or_else(Vec::new, |its| of_polls.swap_remove(its));
            seen.push(Seen {
                verdict: self.judge_poll(poll, reports.last()),
                place: Place::Future(Arc::clone(&poll.name)),
                reports,
            });
        }
        for reports in others {
            if let Some(last) = reports.last() {
                seen.push(Seen {
                    verdict: self.judge_worker(&reports, last),
                    place: last.place.clone(),
                    reports,
                });
            }
        }
        seen
    }

    /// A poll of the watched future, of which `last` is the last report.
    fn judge_poll(&self, poll: &LongPoll, last: Option<&Stall>) -> Verdict {
        let lasted = poll.ended.saturating_duration_since(poll.began);
        let paused = (self.paused)(poll.began, poll.ended);
        let own = lasted.saturating_sub(paused).saturating_sub(poll.waited);
        let allowed = (self.allowed)(poll.thread, poll.began, poll.ended);
        let cause = match last.map(|last| last.cause) {
            Some(known @ (Cause::Blocked { .. } | Cause::OnCpu)) => known,
            _ => poll.cause,
        };
        self.weigh(own, allowed, cause, lasted)
    }

    fn judge_worker(&self, reports: &[Stall], last: &Stall) -> Verdict {
        if last.cause == Cause::Unattended {
            return Verdict::Excused(Excuse::Unattended);
        }
        let mut live = Duration::ZERO;
        let mut verdict = Verdict::Excused(Excuse::Unknown);
        for report in reports {
            let next = self.judge_report(report, live);
            if !matches!(verdict, Verdict::Blocks { .. }) || matches!(next, Verdict::Blocks { .. })
            {
                verdict = next;
            }
            live = report.measured.at_least.into();
        }
        verdict
    }

    /// One report. The one before was made after `live`; zero if there was none.
    fn judge_report(&self, report: &Stall, live: Duration) -> Verdict {
        let excused = Verdict::Excused;
        let Some(at) = report.measured.at else {
            return excused(Excuse::Unknown);
        };
        let at_least = Duration::from(report.measured.at_least);
        let is_over = report.phase == Phase::Ended;
        if is_over && live.is_zero() {
            // It was not seen while it lasted: it may have been many polls.
            return excused(Excuse::Unknown);
        }
        let lasted = at_least.saturating_sub(at.saturating_duration_since(self.over));
        let began = at.checked_sub(at_least).unwrap_or(at);
        let thread = report.thread.as_ref().map(|thread| thread.number());
        if self.is_of_poll(thread, began, at) {
            return excused(Excuse::SamePoll);
        }
        let allowed = thread.map_or(Duration::ZERO, |thread| (self.allowed)(thread, began, at));
        let (own, cause) = match report.measured.share {
            Some(share) => {
                let later = if is_over {
                    at_least.saturating_sub(live)
                } else {
                    Duration::ZERO
                };
                own_part(lasted, share, later, report.cause)
            }
            None if self.has_evidence => return excused(Excuse::Unknown),
            None => (lasted, report.cause),
        };
        self.weigh(own, allowed, cause, report.duration.max(lasted))
    }

    /// Whether a poll of the watched future was most of it.
    fn is_of_poll(&self, thread: Option<u32>, began: Instant, ended: Instant) -> bool {
        let overlap = |poll: &LongPoll| {
            let ended = poll.ended.min(ended);
            ended.saturating_duration_since(poll.began.max(began))
        };
        let half = ended.saturating_duration_since(began) / 2;
        let mut polls = self.polls.iter();
        polls.any(|poll| thread.is_none_or(|thread| thread == poll.thread) && overlap(poll) > half)
    }

    /// `own` is the time that the thread did not wait for a CPU.
    fn weigh(&self, own: Duration, allowed: Duration, cause: Cause, lasted: Duration) -> Verdict {
        let excuse = match cause {
            Cause::Unattended => Excuse::Unattended,
            Cause::Unknown if self.has_evidence => Excuse::Unknown,
            _ if own < self.threshold => Excuse::Starved,
            _ if own.saturating_sub(allowed) < self.threshold => Excuse::Region,
            _ => return Verdict::Blocks { cause, lasted },
        };
        Verdict::Excused(excuse)
    }
}

/// How much of a stall that has `lasted` the thread did not wait for a CPU, and what it did. `later` has passed since
/// the last evidence that is told.
fn own_part(lasted: Duration, share: Share, later: Duration, cause: Cause) -> (Duration, Cause) {
    let passed = Duration::from(share.passed) + later;
    let certain = passed.saturating_sub(share.waited.into()).min(lasted);
    if cause == Cause::Starved {
        // It did something else for less than half of the time, but perhaps for long. What it did before the
        // first evidence is not known.
        let cause = match Duration::from(share.on_cpu) >= certain / 2 {
            true => Cause::OnCpu,
            false => Cause::Blocked { syscall: None },
        };
        return (certain, cause);
    }
    if passed.is_zero() {
        return (Duration::ZERO, cause);
    }
    let part = certain.as_secs_f64() / passed.as_secs_f64();
    (lasted.mul_f64(part.min(1.0)), cause)
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests;
