//! Why a thread does not come back, by what the operating system says of it.

use std::time::Duration;

use crate::procfs::{Thread, Times};
use crate::stall::Cause;
use crate::syscall::Syscall;

/// What is to be had of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It was doing this.
    Seen(Snapshot),
    /// A debugger or a signal has stopped it.
    Held,
    /// It has ended.
    Gone,
    /// The system does not tell.
    None,
}

/// What a thread was doing, and how it has spent its life so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    at: Duration,
    asleep: bool,
    syscall: Option<Syscall>,
    times: Times,
}

impl Evidence {
    /// Reads it for a thread of this process, at a time of the caller's own clock.
    pub(super) fn of(thread: u32, at: Duration) -> Evidence {
        let thread = Thread(thread);
        Evidence::new(at, thread.state(), thread.times(), thread.syscall())
    }

    /// A kernel may be built without either of the last two.
    fn new(
        at: Duration,
        state: Option<char>,
        times: Option<Times>,
        syscall: Option<Syscall>,
    ) -> Evidence {
        let asleep = match state {
            Some('R') => false,
            Some('S' | 'D' | 'I') => true,
            Some('T' | 't') => return Evidence::Held,
            Some('X' | 'Z') => return Evidence::Gone,
            _ => return Evidence::None,
        };
        times.map_or(Evidence::None, |times| {
            Evidence::Seen(Snapshot {
                at,
                asleep,
                syscall,
                times,
            })
        })
    }

    /// A thread that ran, and had spent its life like this by then.
    pub(super) fn running(at: Duration, times: Times) -> Evidence {
        Evidence::Seen(Snapshot {
            at,
            asleep: false,
            syscall: None,
            times,
        })
    }

    /// The thread has slept in the same place since `first`, or has run all the time.
    pub(super) fn has_stayed_since(self, first: Evidence) -> bool {
        match (first, self) {
            (Evidence::Seen(first), Evidence::Seen(last)) => {
                let slept = first.asleep && last.asleep && first.times.turns == last.times.turns;
                slept || last.cause_if_awake(first, Duration::MAX) == Some(Cause::OnCpu)
            }
            _ => false,
        }
    }

    /// The thread slept.
    pub(super) fn is_asleep(self) -> bool {
        matches!(self, Evidence::Seen(snapshot) if snapshot.asleep)
    }

    /// What the thread did between `first` and this. Who has used the CPU for `long` is not starved.
    pub(super) fn cause_since(self, first: Evidence, long: Duration) -> Cause {
        match (first, self) {
            (Evidence::Seen(first), Evidence::Seen(last)) => last.cause_since(first, long),
            _ => Cause::Unknown,
        }
    }

    /// What the thread did in a stall that was over before it could be told. This was seen while it
    /// went on, if it had begun by then; `later` is when it is over.
    pub(super) fn cause_afterwards(
        self,
        began: Duration,
        later: Evidence,
        long: Duration,
    ) -> Cause {
        match (self, later) {
            (Evidence::Seen(first), _) if first.at < began => Cause::Unknown,
            (Evidence::Seen(first), _) if first.asleep => Cause::Blocked {
                syscall: first.syscall,
            },
            // If it has slept, that may have been after its end.
            (Evidence::Seen(first), Evidence::Seen(later)) => {
                later.cause_if_awake(first, long).unwrap_or(Cause::Unknown)
            }
            _ => Cause::Unknown,
        }
    }
}

impl Snapshot {
    /// What it did for most of the time.
    fn cause_since(self, first: Snapshot, long: Duration) -> Cause {
        if let Some(cause) = self.cause_if_awake(first, long) {
            cause
        } else if self.asleep {
            Cause::Blocked {
                syscall: self.syscall,
            }
        } else if first.asleep {
            // It has woken, in what it slept is not known.
            Cause::Blocked { syscall: None }
        } else {
            // It could run, and is waiting for a CPU yet.
            Cause::Starved
        }
    }

    /// The same, if for most of the time it ran or is known to have waited for a CPU.
    fn cause_if_awake(self, first: Snapshot, long: Duration) -> Option<Cause> {
        let passed = self.at.saturating_sub(first.at);
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
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const LONG: Duration = Duration::from_millis(100);

    fn at(millis: u64, state: char, on_cpu: u64, waited: u64) -> Evidence {
        let times = Times {
            on_cpu: ms(on_cpu),
            waited: ms(waited),
            turns: 9,
        };
        let syscall = (state != 'R').then(|| Syscall::new(230));
        Evidence::new(ms(millis), Some(state), Some(times), syscall)
    }

    fn asleep() -> Cause {
        Cause::Blocked {
            syscall: Some(Syscall::new(230)),
        }
    }

    #[test]
    fn the_cause_is_what_the_thread_did_most_of_the_time() {
        for (first, last, cause) in [
            (at(0, 'S', 5, 1), at(50, 'S', 5, 1), asleep()),
            (at(0, 'D', 5, 1), at(50, 'D', 6, 2), asleep()),
            (at(0, 'R', 5, 1), at(50, 'S', 15, 2), asleep()),
            (at(0, 'R', 5, 1), at(50, 'R', 53, 2), Cause::OnCpu),
            (at(0, 'S', 5, 1), at(50, 'S', 45, 2), Cause::OnCpu),
            (at(0, 'R', 5, 1), at(50, 'R', 15, 40), Cause::Starved),
            // It would have been as long on a host that is idle.
            (at(0, 'R', 5, 1), at(300, 'R', 5 + 100, 190), Cause::OnCpu),
            (at(0, 'S', 5, 1), at(900, 'S', 5 + 100, 9), asleep()),
            (at(0, 'R', 5, 1), at(50, 'R', 6, 1), Cause::Starved),
            (
                at(0, 'S', 5, 1),
                at(50, 'R', 6, 1),
                Cause::Blocked { syscall: None },
            ),
            (at(0, 't', 5, 1), at(50, 'R', 5, 1), Cause::Unknown),
        ] {
            assert_eq!(last.cause_since(first, LONG), cause, "{first:?} {last:?}");
        }
    }

    #[test]
    fn one_look_shows_no_more_than_that_it_slept() {
        let cause = |first: Evidence, began, later| first.cause_afterwards(ms(began), later, LONG);
        assert_eq!(cause(at(9, 'S', 5, 1), 9, at(60, 'R', 6, 1)), asleep());
        assert_eq!(
            cause(at(9, 'S', 5, 1), 10, at(60, 'R', 6, 1)),
            Cause::Unknown
        );
        // It may have slept since.
        assert_eq!(
            cause(at(9, 'R', 5, 1), 9, at(60, 'S', 6, 1)),
            Cause::Unknown
        );
        assert_eq!(cause(at(9, 'R', 5, 1), 9, at(60, 'S', 45, 5)), Cause::OnCpu);
        assert_eq!(
            cause(at(9, 'R', 5, 1), 9, at(60, 'S', 10, 40)),
            Cause::Starved
        );
        assert_eq!(cause(at(9, 'R', 5, 1), 9, Evidence::Gone), Cause::Unknown);
        assert_eq!(cause(Evidence::None, 9, at(60, 'R', 6, 1)), Cause::Unknown);
    }

    #[test]
    fn a_thread_that_is_held_or_gone_is_told_apart() {
        assert_eq!(at(0, 't', 5, 1), Evidence::Held);
        assert_eq!(at(0, 'T', 5, 1), Evidence::Held);
        assert_eq!(at(0, 'Z', 5, 1), Evidence::Gone);
        if cfg!(target_os = "linux") {
            assert_eq!(Evidence::of(u32::MAX, Duration::ZERO), Evidence::Gone);
        }
    }

    #[test]
    fn a_kernel_without_the_files_gives_no_evidence() {
        let seen = |times| Evidence::new(Duration::ZERO, Some('S'), times, None);
        assert_eq!(seen(None), Evidence::None);
        let times = Times {
            on_cpu: ms(1),
            waited: ms(2),
            turns: 3,
        };
        let cause = seen(Some(times)).cause_afterwards(Duration::ZERO, Evidence::None, LONG);
        assert_eq!(cause, Cause::Blocked { syscall: None });
    }
}
