//! Which thread and which cause a report names. Not how the evidence is gathered: `inspector.rs`.
//!
//! A cause is what a thread does. So it must first be certain that this thread runs the worker at that
//! moment. The evidence, the strongest first; weaker evidence never overrules stronger:
//!
//! 0. The thread, or Tokio on it, has recorded that it is in this poll of an instrumented or root future: nothing
//!    else counts.
//! 1. The thread itself has said which worker it runs, when a signal asked it. It says the same in a `block_on` after it
//!    has handed the worker over, by `block_in_place`. So if it waits as a parked thread does, its stack must show
//!    that it polls, or no other thread of the kind may behave as this worker's would.
//! 2. The stack of the thread shows that it polls a task as a worker, or that it has handed its worker
//!    over.
//! 3. The worker was last observed on this thread, no worker of the runtime has ever moved to another
//!    thread, and no other thread of the kind behaves as this worker's would. Or all other threads of the
//!    kind are known not to have run since the worker's counters last moved.
//! 4. The blocking pool has no thread to spare. Then nobody may run the worker, and having observed it on
//!    a thread is no evidence. Nobody does if the stack of that thread shows the same.
//! 5. At the end of the stall, Tokio has not counted the time as busy. On a `current_thread` runtime, this
//!    means that nobody drove it. On others it means nothing: a thread that hands its worker over loses the
//!    busy time that it has not published.
//!
//! Without one of the first three, a report has no thread, and no cause but what the counters show: many polls,
//! or that nobody runs the worker.

use crate::stack::Shows;
use crate::stall::{Cause, Share};

/// All evidence of one stall when a report is due, for the thread that probably runs the worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct CaseEvidence {
    /// The cause as far as the worker's counters and its observations show it.
    pub(super) hint: Option<Cause>,
    /// Whether the thread is known to be in the poll: it has recorded that itself, or Tokio has.
    pub(super) is_known_to_poll: bool,
    /// Whether the thread says that it runs this worker. `None` if it was not asked.
    pub(super) says_worker: Option<bool>,
    /// Whether each answer of the thread has named another task.
    pub(super) changed_task: bool,
    /// What the stack of the thread shows. `None` if it is not resolved yet, or shows nothing.
    pub(super) stack: Option<Shows>,
    /// Whether no other worker of the runtime is stuck: then the worker on the stack is this one.
    pub(super) is_only_worker: bool,
    /// Whether the worker was observed on the thread, and nothing speaks against it.
    pub(super) is_likely: bool,
    /// Whether the thread waits as a parked one does, while another of the kind behaves as the worker's would.
    pub(super) looks_parked: bool,
    /// Whether the blocking pool has not yet done what it was asked to do.
    pub(super) pool_waits: bool,
    /// Whether the runtime has no threads of its own, so that perhaps nobody drives it.
    pub(super) may_be_undriven: bool,
    /// What the thread did.
    pub(super) behaviour: Cause,
    /// How much of it was not waiting for a CPU.
    pub(super) share: Option<Share>,
}

impl CaseEvidence {
    /// The evidence of a thread that is known to be in a poll of the place in question.
    pub(super) fn of_poller(behaviour: Cause, share: Option<Share>) -> CaseEvidence {
        CaseEvidence {
            is_known_to_poll: true,
            behaviour,
            share,
            ..NO_EVIDENCE
        }
    }

    /// Whether this thread is certain to run the worker.
    pub(super) fn proves_thread(self) -> bool {
        weigh(self).is_runner
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) cause: Cause,
    /// Whether the thread is certain to run the worker.
    pub(super) is_runner: bool,
}

/// What a thread does that did `last` at the report before. A thread that is about to come back no longer
/// sleeps, but the call that it slept in is known.
pub(super) fn with_the_call(behaviour: Cause, last: Option<CaseEvidence>) -> Cause {
    match (behaviour, last.map(|last| last.behaviour)) {
        (Cause::Blocked { syscall: None }, Some(seen @ Cause::Blocked { .. })) => seen,
        _ => behaviour,
    }
}

/// Weighs the evidence: no other place does.
pub(super) fn weigh(evidence: CaseEvidence) -> Verdict {
    if evidence.is_known_to_poll {
        return Verdict {
            cause: evidence.behaviour,
            is_runner: true,
        };
    }
    let is_runner = match (evidence.says_worker, evidence.stack) {
        (_, Some(Shows::HandedOver)) => false,
        (Some(says_worker), None) => says_worker && !evidence.looks_parked,
        (Some(says_worker), Some(Shows::Polls)) => says_worker,
        (None, Some(Shows::Polls)) => evidence.is_only_worker || evidence.is_likely,
        (None, None) => evidence.is_likely && !evidence.pool_waits,
    };
    let cause = if is_runner {
        match evidence.behaviour {
            // A thread that gets no CPU makes no progress.
            Cause::Starved => Cause::Starved,
            behaviour => evidence
                .hint
                .or(evidence.changed_task.then_some(Cause::ManyPolls))
                .unwrap_or(behaviour),
        }
    } else {
        let is_unattended = evidence.pool_waits && evidence.stack == Some(Shows::HandedOver);
        evidence
            .hint
            .or(is_unattended.then_some(Cause::Unattended))
            .unwrap_or(Cause::Unknown)
    };
    Verdict { cause, is_runner }
}

/// Weighs what the end of a stall adds to its last verdict: whether Tokio did not count the time as busy.
pub(super) fn weigh_at_end(live: Verdict, evidence: CaseEvidence, is_unattended: bool) -> Verdict {
    let is_known = !matches!(live.cause, Cause::Unknown | Cause::Unattended);
    let is_left = is_unattended && evidence.may_be_undriven;
    if is_known && live.is_runner && !is_left {
        // This was seen while it lasted. Tokio does not count a hook of the runtime, for one, as busy.
        return match evidence.hint {
            Some(cause) => Verdict { cause, ..live },
            None => live,
        };
    }
    if is_unattended {
        return Verdict {
            cause: Cause::Unattended,
            is_runner: false,
        };
    }
    // Busy time is no evidence: the thread that takes the worker back after `block_in_place` has all of
    // the time counted.
    weigh(evidence)
}

/// Evidence of nothing but that a thread slept.
pub(super) const NO_EVIDENCE: CaseEvidence = CaseEvidence {
    hint: None,
    is_known_to_poll: false,
    says_worker: None,
    changed_task: false,
    stack: None,
    is_only_worker: false,
    is_likely: false,
    looks_parked: false,
    pool_waits: false,
    may_be_undriven: false,
    behaviour: Cause::Blocked { syscall: None },
    share: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKED: Cause = Cause::Blocked { syscall: None };

    const NOTHING: CaseEvidence = NO_EVIDENCE;

    const LIKELY: CaseEvidence = CaseEvidence {
        is_likely: true,
        ..NOTHING
    };

    #[track_caller]
    fn is(evidence: CaseEvidence, cause: Cause, is_runner: bool) {
        assert_eq!(
            weigh(evidence),
            Verdict { cause, is_runner },
            "{evidence:?}"
        );
    }

    #[test]
    fn a_thread_that_is_not_known_to_run_the_worker_is_no_evidence() {
        is(NOTHING, Cause::Unknown, false);
        is(LIKELY, BLOCKED, true);
    }

    #[test]
    fn what_the_thread_says_outranks_all_but_its_stack() {
        let says_worker = |says_worker| CaseEvidence {
            says_worker: Some(says_worker),
            pool_waits: true,
            behaviour: Cause::OnCpu,
            ..LIKELY
        };
        is(says_worker(true), Cause::OnCpu, true);
        is(says_worker(false), Cause::Unknown, false);
        let parked = CaseEvidence {
            looks_parked: true,
            ..says_worker(true)
        };
        is(parked, Cause::Unknown, false);
        let polls = CaseEvidence {
            stack: Some(Shows::Polls),
            ..parked
        };
        is(polls, Cause::OnCpu, true);
        let handed_over = CaseEvidence {
            stack: Some(Shows::HandedOver),
            ..says_worker(true)
        };
        is(handed_over, Cause::Unattended, false);
    }

    #[test]
    fn the_stack_outranks_the_observation() {
        let shows = |stack, known| CaseEvidence {
            stack: Some(stack),
            ..known
        };
        is(shows(Shows::HandedOver, LIKELY), Cause::Unknown, false);
        is(shows(Shows::Polls, LIKELY), BLOCKED, true);
        // It polls as a worker, but perhaps as another one.
        is(shows(Shows::Polls, NOTHING), Cause::Unknown, false);
        let only_one = CaseEvidence {
            is_only_worker: true,
            ..NOTHING
        };
        is(shows(Shows::Polls, only_one), BLOCKED, true);
    }

    #[test]
    fn a_full_pool_alone_makes_it_doubtful_and_no_more() {
        let full = |known| CaseEvidence {
            pool_waits: true,
            ..known
        };
        is(full(LIKELY), Cause::Unknown, false);
        is(full(NOTHING), Cause::Unknown, false);
        let stack = |stack| CaseEvidence {
            stack: Some(stack),
            ..full(LIKELY)
        };
        is(stack(Shows::HandedOver), Cause::Unattended, false);
        is(stack(Shows::Polls), BLOCKED, true);
    }

    #[test]
    fn progress_of_the_worker_outranks_what_its_thread_does_unless_it_starves() {
        let many = Some(Cause::ManyPolls);
        let hint = |known| CaseEvidence {
            hint: many,
            ..known
        };
        is(hint(LIKELY), Cause::ManyPolls, true);
        is(hint(NOTHING), Cause::ManyPolls, false);
        let starved = CaseEvidence {
            behaviour: Cause::Starved,
            ..hint(LIKELY)
        };
        is(starved, Cause::Starved, true);
        let changed_task = CaseEvidence {
            changed_task: true,
            says_worker: Some(true),
            ..NOTHING
        };
        is(changed_task, Cause::ManyPolls, true);
    }

    #[test]
    fn the_end_keeps_what_was_seen_and_settles_what_was_not() {
        let verdict = |cause, is_runner| Verdict { cause, is_runner };
        let unknown = verdict(Cause::Unknown, false);
        let full = CaseEvidence {
            pool_waits: true,
            ..LIKELY
        };
        for (live, known, unattended, expected) in [
            // An unpark hook that sleeps.
            (verdict(BLOCKED, true), LIKELY, true, verdict(BLOCKED, true)),
            // Between two calls of `block_on`.
            (
                verdict(BLOCKED, true),
                CaseEvidence {
                    may_be_undriven: true,
                    ..LIKELY
                },
                true,
                verdict(Cause::Unattended, false),
            ),
            (unknown, full, true, verdict(Cause::Unattended, false)),
            (unknown, full, false, unknown),
            (unknown, LIKELY, false, verdict(BLOCKED, true)),
            (unknown, NOTHING, false, unknown),
            (
                verdict(Cause::Unattended, false),
                NOTHING,
                true,
                verdict(Cause::Unattended, false),
            ),
        ] {
            let ended = weigh_at_end(live, known, unattended);
            assert_eq!(ended, expected, "{live:?} {known:?} {unattended}");
        }
    }
}
