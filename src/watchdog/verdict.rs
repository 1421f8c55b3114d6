//! What a report says of its thread and its cause: the order of evidence.
//!
//! A cause is taken from what a thread does. So it has to be known first that this thread runs the
//! worker at that moment. The strongest evidence comes first, and weaker evidence never overrules it:
//!
//! 1. The thread itself has said which worker it runs, when a signal asked it.
//! 2. Its stack shows that it polls a task as a worker, or that it has handed its worker over.
//! 3. It has been met as this worker's, no worker of the runtime has ever been met on another thread
//!    than before, and no other thread of the kind behaves as this worker's would. Or all other threads
//!    of the kind are known not to have run since the worker last moved.
//! 4. The blocking pool has no thread to spare. Then the worker may be one that nobody runs, and a
//!    meeting is no evidence. It is said to be so if the stack of who ran it shows the same.
//! 5. Tokio has not counted the time as busy, when it is over. On a `current_thread` runtime nobody has
//!    driven it then. Elsewhere it says nothing: what a thread has not published is lost when it hands its
//!    worker over.
//!
//! Without the first three there is no thread and no cause.

use crate::stack::Shows;
use crate::stall::Cause;

/// What is known when a report is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// What the counters and the meetings of this worker show.
    pub(super) shown: Option<Cause>,
    /// Whether the thread has said that it runs this worker. `None` if it has not been asked.
    pub(super) said: Option<bool>,
    /// It has said that it polls another task than before.
    pub(super) went_on: bool,
    /// What its stack shows. `None` if it has not been read, or tells nothing.
    pub(super) stack: Option<Shows>,
    /// No other worker of the runtime stands still, so the one that its stack shows is this one.
    pub(super) is_only_one: bool,
    /// It has been met as this worker's, and nothing speaks against it.
    pub(super) is_likely: bool,
    /// The blocking pool was asked to do something, and has not come to it.
    pub(super) pool_waits: bool,
    /// The runtime has no threads of its own, so nobody may drive it.
    pub(super) may_be_left: bool,
    /// What the thread did.
    pub(super) behaviour: Cause,
}

impl Known {
    /// Whether the thread is the worker's.
    pub(super) fn points_at_its_thread(self) -> bool {
        weigh(self).is_runner
    }
}

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) cause: Cause,
    /// Whether the thread is the worker's.
    pub(super) is_runner: bool,
}

/// The only place where evidence is weighed.
pub(super) fn weigh(known: Known) -> Verdict {
    let is_runner = match (known.said, known.stack) {
        (_, Some(Shows::HandedOver)) => false,
        (Some(said), _) => said,
        (None, Some(Shows::Polls)) => known.is_only_one || known.is_likely,
        (None, None) => known.is_likely && !known.pool_waits,
    };
    let cause = if is_runner {
        match known.behaviour {
            // What the host does not run shows no progress.
            Cause::Starved => Cause::Starved,
            behaviour => known
                .shown
                .or(known.went_on.then_some(Cause::ManyPolls))
                .unwrap_or(behaviour),
        }
    } else {
        let is_unattended = known.pool_waits && known.stack == Some(Shows::HandedOver);
        known
            .shown
            .or(is_unattended.then_some(Cause::Unattended))
            .unwrap_or(Cause::Unknown)
    };
    Verdict { cause, is_runner }
}

/// What the end adds to what was reported last: whether Tokio has not counted the time as busy.
pub(super) fn weigh_at_end(live: Verdict, known: Known, is_unattended: bool) -> Verdict {
    let is_known = !matches!(live.cause, Cause::Unknown | Cause::Unattended);
    let is_left = is_unattended && known.may_be_left;
    if is_known && live.is_runner && !is_left {
        // It was seen. A hook of the runtime, for one, is not counted as busy.
        return match known.shown {
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
    // That the time was counted as busy is no evidence: who takes the worker back after
    // `block_in_place` has all of it counted.
    weigh(known)
}

/// Nothing is known but what the thread did: it slept.
#[cfg(test)]
pub(super) const NOTHING_KNOWN: Known = Known {
    shown: None,
    said: None,
    went_on: false,
    stack: None,
    is_only_one: false,
    is_likely: false,
    pool_waits: false,
    may_be_left: false,
    behaviour: Cause::Blocked { syscall: None },
};

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKED: Cause = Cause::Blocked { syscall: None };

    const NOTHING: Known = NOTHING_KNOWN;

    const LIKELY: Known = Known {
        is_likely: true,
        ..NOTHING
    };

    #[track_caller]
    fn is(known: Known, cause: Cause, is_runner: bool) {
        assert_eq!(weigh(known), Verdict { cause, is_runner }, "{known:?}");
    }

    #[test]
    fn a_thread_that_is_not_known_to_run_the_worker_is_no_evidence() {
        is(NOTHING, Cause::Unknown, false);
        is(LIKELY, BLOCKED, true);
    }

    #[test]
    fn what_the_thread_says_outranks_all_but_its_stack() {
        let said = |said| Known {
            said: Some(said),
            pool_waits: true,
            behaviour: Cause::OnCpu,
            ..LIKELY
        };
        is(said(true), Cause::OnCpu, true);
        is(said(false), Cause::Unknown, false);
        let handed_over = Known {
            stack: Some(Shows::HandedOver),
            ..said(true)
        };
        is(handed_over, Cause::Unattended, false);
    }

    #[test]
    fn the_stack_outranks_the_meeting() {
        let shows = |stack, known| Known {
            stack: Some(stack),
            ..known
        };
        is(shows(Shows::HandedOver, LIKELY), Cause::Unknown, false);
        is(shows(Shows::Polls, LIKELY), BLOCKED, true);
        // It polls as a worker, but perhaps as another.
        is(shows(Shows::Polls, NOTHING), Cause::Unknown, false);
        let only_one = Known {
            is_only_one: true,
            ..NOTHING
        };
        is(shows(Shows::Polls, only_one), BLOCKED, true);
    }

    #[test]
    fn a_full_pool_alone_makes_it_doubtful_and_no_more() {
        let full = |known| Known {
            pool_waits: true,
            ..known
        };
        is(full(LIKELY), Cause::Unknown, false);
        is(full(NOTHING), Cause::Unknown, false);
        let stack = |stack| Known {
            stack: Some(stack),
            ..full(LIKELY)
        };
        is(stack(Shows::HandedOver), Cause::Unattended, false);
        is(stack(Shows::Polls), BLOCKED, true);
    }

    #[test]
    fn progress_of_the_worker_outranks_what_its_thread_does_unless_it_starves() {
        let many = Some(Cause::ManyPolls);
        let shown = |known| Known {
            shown: many,
            ..known
        };
        is(shown(LIKELY), Cause::ManyPolls, true);
        is(shown(NOTHING), Cause::ManyPolls, false);
        let starved = Known {
            behaviour: Cause::Starved,
            ..shown(LIKELY)
        };
        is(starved, Cause::Starved, true);
        let went_on = Known {
            went_on: true,
            said: Some(true),
            ..NOTHING
        };
        is(went_on, Cause::ManyPolls, true);
    }

    #[test]
    fn the_end_keeps_what_was_seen_and_settles_what_was_not() {
        let verdict = |cause, is_runner| Verdict { cause, is_runner };
        let unknown = verdict(Cause::Unknown, false);
        let full = Known {
            pool_waits: true,
            ..LIKELY
        };
        for (live, known, unattended, expected) in [
            // An unpark hook that sleeps.
            (verdict(BLOCKED, true), LIKELY, true, verdict(BLOCKED, true)),
            // Between two calls of `block_on`.
            (
                verdict(BLOCKED, true),
                Known {
                    may_be_left: true,
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
