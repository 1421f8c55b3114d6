//! Which stalls fail a test: those that the code is to blame for, by evidence. Pure: what is known is passed in.
//!
//! A stall lasts by the clock, which also runs while the thread waits for a CPU. So what the thread has waited is
//! subtracted, and what it was allowed to block. A watched future's polls are measured by their threads. Of
//! a worker, the watchdog has evidence from half the threshold on; the thread counts as having waited as much, in
//! proportion, before.

mod sleeps;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bursts::Burst;
use super::long_polls::LongPoll;
use crate::stall::{Cause, Phase, Place, Share, Stall};
pub(super) use sleeps::is_in;
use sleeps::{longest_sleep, names_another_call, waits_for_memory};

/// How long a sleep is at least that nobody else's wait for a CPU explains.
const LONG_SLEEP: Duration = Duration::from_millis(40);

/// All that is known beside the reports.
pub(super) struct Knowledge<'a> {
    pub(super) threshold: Duration,
    /// When the code under test was over.
    pub(super) over: Instant,
    /// The long polls of the watched future.
    pub(super) polls: &'a [LongPoll],
    /// The long bursts of its polls.
    pub(super) bursts: &'a [Burst],
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
    /// It may have slept because the thread that it slept for waited for a CPU.
    Crowded,
    /// Nobody ran the worker.
    Unattended,
    /// What the thread did is not known.
    Unknown,
    /// It was allowed there and then.
    Region,
    /// It is that of polls of the watched future, which are judged by themselves.
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
                verdict: self.judge_poll(poll, &reports),
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

    /// A poll of the watched future.
    fn judge_poll(&self, poll: &LongPoll, reports: &[Stall]) -> Verdict {
        let lasted = poll.ended.saturating_duration_since(poll.began);
        let paused = (self.paused)(poll.began, poll.ended);
        let own = lasted
            .saturating_sub(paused)
            .saturating_sub(poll.did.waited);
        let is_long = self.is_long(poll.did.sleep, poll.did.waited);
        let is_certain =
            (is_long && !waits_for_memory(reports)) || self.sleeps_for_nobody_else(reports);
        let own = Own {
            time: own,
            doubtful: if is_certain {
                Duration::ZERO
            } else {
                poll.did.crowded
            },
            allowed: (self.allowed)(poll.thread, poll.began, poll.ended),
        };
        let cause = match reports.last().map(|last| last.cause) {
            Some(known @ (Cause::Blocked { .. } | Cause::OnCpu)) => known,
            _ => poll.did.cause,
        };
        self.weigh(own, cause, lasted)
    }

    /// Whether the reports show that no other thread's wait for a CPU explains the sleep.
    fn sleeps_for_nobody_else(&self, reports: &[Stall]) -> bool {
        let last = reports
            .iter()
            .rev()
            .find_map(|report| report.measured.share);
        let waited = last.map_or(Duration::ZERO, |share| share.waited.into());
        let is_long = self.is_long(longest_sleep(reports), waited);
        (is_long && !waits_for_memory(reports)) || reports.iter().any(names_another_call)
    }

    /// A thread that holds a lock may be put off its CPU. But not for so long, as a rule, and not for longer than
    /// the thread that wants the lock has itself `waited` for a CPU.
    fn is_long(&self, sleep: Duration, waited: Duration) -> bool {
        sleep >= LONG_SLEEP.max(self.threshold / 2) && sleep >= waited
    }

    fn judge_worker(&self, reports: &[Stall], last: &Stall) -> Verdict {
        if last.cause == Cause::Unattended {
            return Verdict::Excused(Excuse::Unattended);
        }
        let is_certain = self.sleeps_for_nobody_else(reports);
        let mut live = Duration::ZERO;
        let mut verdict = Verdict::Excused(Excuse::Unknown);
        for report in reports {
            let next = self.judge_report(report, live, is_certain);
            if !matches!(verdict, Verdict::Blocks { .. }) || matches!(next, Verdict::Blocks { .. })
            {
                verdict = next;
            }
            live = report.measured.at_least.into();
        }
        verdict
    }

    /// One report. The one before was made after `live`; zero if there was none.
    fn judge_report(&self, report: &Stall, live: Duration, is_certain: bool) -> Verdict {
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
        let is_of_bursts =
            report.place == Place::RootFuture && self.is_of_bursts(thread, began, began + lasted);
        if is_of_bursts || self.is_of_poll(thread, began, at) {
            return excused(Excuse::SamePoll);
        }
        let allowed = thread.map_or(Duration::ZERO, |thread| (self.allowed)(thread, began, at));
        let (mut own, cause) = match report.measured.share {
            Some(share) => {
                let later = if is_over {
                    at_least.saturating_sub(live)
                } else {
                    Duration::ZERO
                };
                own_part(lasted, share, later, report.cause)
            }
            None if self.has_evidence => return excused(Excuse::Unknown),
            None => (Own::certain(lasted), report.cause),
        };
        own.allowed = allowed;
        if is_certain {
            own.doubtful = Duration::ZERO;
        }
        self.weigh(own, cause, report.duration.max(lasted))
    }

    /// Whether a poll of the watched future was most of it.
    fn is_of_poll(&self, thread: Option<u32>, began: Instant, ended: Instant) -> bool {
        let half = ended.saturating_duration_since(began) / 2;
        let mut polls = self.polls.iter();
        polls.any(|poll| {
            let is_there = thread.is_none_or(|thread| thread == poll.thread);
            is_there && overlap((poll.began, poll.ended), (began, ended)) > half
        })
    }

    /// Whether only polls of the watched future made it last for the threshold. Of a root future, the watchdog cannot
    /// tell one poll from many.
    fn is_of_bursts(&self, thread: Option<u32>, began: Instant, ended: Instant) -> bool {
        let its = self.bursts.iter();
        let its = its.filter(|burst| thread == Some(burst.thread));
        let in_bursts: Duration = its
            .map(|burst| overlap((burst.began, burst.ended), (began, ended)))
            .sum();
        ended.saturating_duration_since(began) < self.threshold + in_bursts
    }

    fn weigh(&self, own: Own, cause: Cause, lasted: Duration) -> Verdict {
        let without_doubt = own.time.saturating_sub(own.doubtful);
        let excuse = match cause {
            Cause::Unattended => Excuse::Unattended,
            Cause::Unknown if self.has_evidence => Excuse::Unknown,
            _ if own.time < self.threshold => Excuse::Starved,
            _ if own.time.saturating_sub(own.allowed) < self.threshold => Excuse::Region,
            _ if without_doubt.saturating_sub(own.allowed) < self.threshold => Excuse::Crowded,
            _ => return Verdict::Blocks { cause, lasted },
        };
        Verdict::Excused(excuse)
    }
}

fn overlap((began, ended): (Instant, Instant), (from, to): (Instant, Instant)) -> Duration {
    ended.min(to).saturating_duration_since(began.max(from))
}

/// What of a stall is the thread's own doing.
#[derive(Debug, Clone, Copy)]
struct Own {
    /// The time that the thread did not wait for a CPU.
    time: Duration,
    /// The part of it in which the thread may have slept because another one waited for a CPU.
    doubtful: Duration,
    /// The part of it in which it was allowed to block.
    allowed: Duration,
}

impl Own {
    fn certain(time: Duration) -> Own {
        Own {
            time,
            doubtful: Duration::ZERO,
            allowed: Duration::ZERO,
        }
    }
}

/// What of a stall that has `lasted` is the thread's own doing, and what it did. `later` has passed since the last
/// evidence that is told.
fn own_part(lasted: Duration, share: Share, later: Duration, cause: Cause) -> (Own, Cause) {
    let passed = Duration::from(share.passed) + later;
    let certain = passed.saturating_sub(share.waited.into()).min(lasted);
    let slept = certain.saturating_sub(share.on_cpu.into());
    let mut own = Own {
        time: certain,
        doubtful: slept,
        allowed: Duration::ZERO,
    };
    if cause == Cause::Starved {
        // It did something else for less than half of the time, but perhaps for long. What it did before the
        // first evidence is not known.
        let cause = match slept > certain / 2 {
            true => Cause::Blocked { syscall: None },
            false => Cause::OnCpu,
        };
        return (own, cause);
    }
    let scale = match passed.is_zero() {
        true => 0.0,
        false => lasted.as_secs_f64() / passed.as_secs_f64(),
    };
    own.time = own.time.mul_f64(scale).min(lasted);
    own.doubtful = own.doubtful.mul_f64(scale);
    (own, cause)
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests;
