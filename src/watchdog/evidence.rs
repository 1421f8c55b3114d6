//! Why a thread is stuck, by what the operating system says of it. Not whether the thread runs the worker:
//! `verdict.rs`.

use std::time::Duration;

use super::awake_clock::AwakeInstant;
use crate::procfs::{Thread, Times};
use crate::stack;
use crate::stall::{Cause, Share};
use crate::syscall::Syscall;

/// The kernel may count the time on a CPU so much late.
pub(super) const COUNTED_LATE: Duration = Duration::from_millis(10);

/// What the system says of a thread at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    Seen(Snapshot),
    /// A debugger or a signal has stopped the thread.
    Held,
    /// The thread has ended.
    Gone,
    /// The system gives no answer.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    at: AwakeInstant,
    is_asleep: bool,
    syscall: Option<Syscall>,
    times: Times,
    /// How often loopmon had interrupted a sleep of the thread. `None` if that is not known.
    interruptions: Option<usize>,
}

impl Evidence {
    /// Reads the evidence of a thread of this process, if its id is known.
    pub(super) fn of(thread: Option<u32>, at: AwakeInstant) -> Evidence {
        let Some(thread) = thread.map(Thread) else {
            return Evidence::None;
        };
        let mut evidence = Evidence::new(at, thread.state(), thread.times(), thread.syscall());
        if let Evidence::Seen(snapshot) = &mut evidence {
            snapshot.interruptions = Some(stack::interruptions(thread.0));
        }
        evidence
    }

    /// A kernel may be built without `times` and without `syscall`.
    fn new(
        at: AwakeInstant,
        state: Option<char>,
        times: Option<Times>,
        syscall: Option<Syscall>,
    ) -> Evidence {
        let is_asleep = match state {
            Some('R') => false,
            Some('S' | 'D' | 'I') => true,
            Some('T' | 't') => return Evidence::Held,
            Some('X' | 'Z') => return Evidence::Gone,
            _ => return Evidence::None,
        };
        times.map_or(Evidence::None, |times| {
            Evidence::Seen(Snapshot {
                at,
                is_asleep,
                syscall,
                times,
                interruptions: None,
            })
        })
    }

    /// A thread that was running.
    pub(super) fn running(at: AwakeInstant, times: Times) -> Evidence {
        Evidence::Seen(Snapshot {
            at,
            is_asleep: false,
            syscall: None,
            times,
            interruptions: None,
        })
    }

    /// Whether the thread has slept in the same place since `first`, or has run all the time.
    pub(super) fn has_stayed_since(self, first: Evidence) -> bool {
        match (first, self) {
            (Evidence::Seen(first), Evidence::Seen(last)) => {
                let slept =
                    first.is_asleep && last.is_asleep && first.times.turns == last.times.turns;
                slept || last.cause_if_awake(first, Duration::MAX) == Some(Cause::OnCpu)
            }
            _ => false,
        }
    }

    /// Whether the thread slept.
    pub(super) fn is_asleep(self) -> bool {
        matches!(self, Evidence::Seen(snapshot) if snapshot.is_asleep)
    }

    /// What the thread did between `first` and this. A thread that has used the CPU for `long` is not
    /// starved.
    pub(super) fn cause_since(self, first: Evidence, long: Duration) -> Cause {
        match (first, self) {
            (Evidence::Seen(first), Evidence::Seen(last)) => last.cause_since(first, long),
            _ => Cause::Unknown,
        }
    }

    /// How much of the time since `first` the thread may have waited for a CPU.
    pub(super) fn share_since(self, first: Evidence) -> Option<Share> {
        match (first, self) {
            (Evidence::Seen(first), Evidence::Seen(last)) => Some(last.share_since(first)),
            _ => None,
        }
    }

    /// The share in a stall that is over by now, of which `live` is the last that was told.
    pub(super) fn share_in(self, live: Share, first: Evidence) -> Share {
        match (first, self) {
            (Evidence::Seen(first), Evidence::Seen(last)) => Share {
                // All waiting is counted by now.
                waited: last.times.waited.saturating_sub(first.times.waited).into(),
                ..live
            },
            _ => live,
        }
    }

    /// What the thread did in a stall that ended before it was reported. `self` is from the stall if that
    /// had begun by then, `later` is from after it.
    pub(super) fn cause_afterwards(
        self,
        began: AwakeInstant,
        later: Evidence,
        long: Duration,
    ) -> Cause {
        match self {
            Evidence::Seen(first) if first.at < began => Cause::Unknown,
            _ => self.cause_of_past(later, long),
        }
    }

    /// What the thread did in a stall that may be over by now. `self` is from the stall, `later` perhaps from
    /// after it.
    pub(super) fn cause_of_past(self, later: Evidence, long: Duration) -> Cause {
        match (self, later) {
            (Evidence::Seen(first), _) if first.is_asleep => Cause::Blocked {
                syscall: first.syscall,
            },
            // A sleep may have been after the end of the stall.
            (Evidence::Seen(first), Evidence::Seen(later)) => {
                later.cause_if_awake(first, long).unwrap_or(Cause::Unknown)
            }
            _ => Cause::Unknown,
        }
    }
}

impl Snapshot {
    fn share_since(self, first: Snapshot) -> Share {
        let passed = self.at.since(first.at);
        let on_cpu = self.times.on_cpu.saturating_sub(first.times.on_cpu);
        let waited = self.times.waited.saturating_sub(first.times.waited);
        // It may be waiting right now, which is counted later. So may be what it has run since the last tick.
        let uncounted = passed.saturating_sub(on_cpu).saturating_sub(waited);
        let may_wait = !self.is_asleep && uncounted > COUNTED_LATE;
        Share {
            passed: passed.into(),
            on_cpu: if self.is_asleep || may_wait {
                on_cpu
            } else {
                on_cpu + uncounted
            }
            .into(),
            turns: self.turns_since(first),
            waited: if may_wait { waited + uncounted } else { waited }.into(),
        }
    }

    /// How often the thread was put on a CPU, but for the times that it was only asked.
    fn turns_since(self, first: Snapshot) -> u32 {
        let turns = self.times.turns.saturating_sub(first.times.turns);
        let asked = self.interruptions.zip(first.interruptions);
        let asked = asked.map_or(0, |(last, first)| last.wrapping_sub(first) as u64);
        u32::try_from(turns.saturating_sub(asked)).unwrap_or(u32::MAX)
    }

    /// What the thread did for most of the time.
    fn cause_since(self, first: Snapshot, long: Duration) -> Cause {
        if let Some(cause) = self.cause_if_awake(first, long) {
            cause
        } else if self.is_asleep {
            Cause::Blocked {
                syscall: self.syscall,
            }
        } else if first.is_asleep {
            // The thread has woken up: in which call it slept is not known.
            Cause::Blocked { syscall: None }
        } else {
            // The thread can run, and still waits for a CPU.
            Cause::Starved
        }
    }

    /// The same, if for most of the time the thread ran or is known to have waited for a CPU.
    fn cause_if_awake(self, first: Snapshot, long: Duration) -> Option<Cause> {
        let passed = self.at.since(first.at);
        let on_cpu = self.times.on_cpu.saturating_sub(first.times.on_cpu);
        let waited = self.times.waited.saturating_sub(first.times.waited);
        let rest = passed.saturating_sub(on_cpu).saturating_sub(waited);
        if on_cpu >= waited.max(rest) {
            Some(Cause::OnCpu)
        } else if waited < rest {
            None
        } else if on_cpu >= long {
            Some(Cause::OnCpu)
        } else {
            Some(Cause::Starved)
        }
    }
}

#[cfg(test)]
mod tests;
