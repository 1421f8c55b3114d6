//! What the threads of one kind have done so far. Which of them runs a worker: `candidates.rs`.
//!
//! Tokio runs workers on threads of the runtime's blocking pool, and `block_in_place` moves a worker to
//! another of them. No thread says unasked which worker it runs, so the other threads have to be ruled out.

use std::time::{Duration, Instant};

use crate::clock;
use crate::procfs::{self, Thread, Times};
use crate::stall::Cause;

/// With more threads than this there is no census.
const MOST_THREADS: usize = 1_024;

/// A thread counts as running throughout if it ran, or waited for a CPU, for this many percent of the time.
/// The kernel counts a wait only when it is over, and may count the rest up to 10 ms late.
const THROUGHOUT: u32 = 70;

/// All threads of one kind, at one time.
#[derive(Debug, Clone)]
pub(super) struct Census {
    pub(super) taken_at: Instant,
    /// How long the census took.
    pub(super) cost: Duration,
    threads: Vec<(u32, Times)>,
    /// The threads that were blocked in a call in which a thread without work waits.
    idle: Vec<u32>,
}

/// What a thread did from one census to another.
#[derive(Debug, Clone, Copy)]
struct Did {
    on_cpu: Duration,
    waited: Duration,
    passed: Duration,
}

impl Did {
    fn ran_throughout(self) -> bool {
        self.on_cpu + self.waited >= self.passed * THROUGHOUT / 100
    }
}

impl Census {
    /// Covers the threads whose name is that of `like`, but for a number at its end. `None` if `like` is
    /// gone, or there are too many threads.
    pub(super) fn take(like: u32) -> Option<Census> {
        let name = Thread(like).name()?;
        let kind = kind(name.text());
        let taken_at = clock::now();
        let (mut threads, mut idle) = (Vec::new(), Vec::new());
        for id in procfs::threads() {
            let name = Thread(id).name();
            if name.is_some_and(|name| self::kind(name.text()) == kind) {
                if let Some(times) = Thread(id).times() {
                    threads.push((id, times));
                    if Thread(id).is_idle() {
                        idle.push(id);
                    }
                }
            }
            if threads.len() > MOST_THREADS {
                return None;
            }
        }
        Some(Census {
            taken_at,
            cost: clock::now().saturating_duration_since(taken_at),
            threads,
            idle,
        })
    }

    pub(super) fn has_only_one(&self) -> bool {
        self.threads.len() == 1
    }

    /// The one thread that is not `known`, if there is just one.
    pub(super) fn only_one_but(&self, known: impl Fn(u32) -> bool) -> Option<u32> {
        let mut unknown = self.threads.iter().filter(|(id, _)| !known(*id));
        let (only, _) = unknown.next()?;
        unknown.next().is_none().then_some(*only)
    }

    pub(super) fn times(&self, thread: u32) -> Option<Times> {
        let found = self.threads.iter().find(|(id, _)| *id == thread);
        found.map(|(_, times)| *times)
    }

    fn did(&self, thread: u32, later: &Census) -> Option<Did> {
        let (before, after) = (self.times(thread)?, later.times(thread)?);
        Some(Did {
            on_cpu: after.on_cpu.saturating_sub(before.on_cpu),
            waited: after.waited.saturating_sub(before.waited),
            passed: later.taken_at.saturating_duration_since(self.taken_at),
        })
    }

    /// The threads that ran without a rest from this census to `later`.
    pub(super) fn ran_throughout(&self, later: &Census) -> impl Iterator<Item = u32> {
        self.threads.iter().filter_map(|(id, _)| {
            let did = self.did(*id, later)?;
            did.ran_throughout().then_some(*id)
        })
    }

    /// The threads that ran between this census and `later`, or started.
    fn ran(&self, later: &Census) -> impl Iterator<Item = u32> {
        let ran = |(id, after): &&(u32, Times)| {
            self.times(*id)
                .is_none_or(|before| before.turns != after.turns || before.on_cpu != after.on_cpu)
        };
        later.threads.iter().filter(ran).map(|(id, _)| *id)
    }

    /// The one thread that may have run between this census and `later`, if there is just one.
    pub(super) fn only_one_that_ran(&self, later: &Census) -> Option<u32> {
        let mut ran = self.ran(later);
        let only = ran.next()?;
        ran.next().is_none().then_some(only)
    }

    /// The threads that have run since `before`, and were not idle at this census.
    pub(super) fn busy_since(&self, before: Option<&Census>) -> Vec<u32> {
        let is_busy = |id: &u32| !self.idle.contains(id);
        match before {
            Some(before) => before.ran(self).filter(is_busy).collect(),
            None => self
                .threads
                .iter()
                .map(|(id, _)| *id)
                .filter(is_busy)
                .collect(),
        }
    }

    /// The one thread that ran without a rest from this census to `last` and rests now, if there is just one;
    /// and why it was not back sooner. It ran a worker that was stuck meanwhile and has parked since.
    pub(super) fn only_one_that_rests_now(&self, last: &Census) -> Option<(u32, Cause)> {
        let rests = |id: &u32| matches!(Thread(*id).state(), Some('S' | 'D' | 'I'));
        let mut found = self.ran_throughout(last).filter(rests);
        let only = found.next()?;
        if found.next().is_some() {
            return None;
        }
        let did = self.did(only, last)?;
        let cause = if did.waited > did.on_cpu {
            Cause::Starved
        } else {
            Cause::OnCpu
        };
        Some((only, cause))
    }
}

/// A name without the number at its end.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|last: char| last.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(taken_at: Instant, threads: &[(u32, u64, u64, u64)]) -> Census {
        let times = |&(id, on_cpu, waited, turns)| {
            let times = Times {
                on_cpu: Duration::from_millis(on_cpu),
                waited: Duration::from_millis(waited),
                turns,
            };
            (id, times)
        };
        Census {
            taken_at,
            cost: Duration::ZERO,
            threads: threads.iter().map(times).collect(),
            idle: Vec::new(),
        }
    }

    #[test]
    fn who_ran_without_a_rest() {
        let began = clock::now();
        let first = census(
            began,
            &[(1, 5, 0, 9), (2, 5, 0, 9), (3, 5, 0, 9), (4, 5, 0, 9)],
        );
        let later = began + Duration::from_millis(100);
        let last = census(
            later,
            &[(1, 104, 0, 9), (2, 5, 0, 9), (3, 50, 55, 20), (5, 90, 0, 3)],
        );
        let ran: Vec<_> = first.ran_throughout(&last).collect();
        assert_eq!(ran, [1, 3]);
    }

    #[test]
    fn who_can_be_ruled_out() {
        let began = clock::now();
        let first = census(began, &[(1, 5, 0, 9), (2, 5, 0, 9)]);
        let only =
            |threads: &[(u32, u64, u64, u64)]| first.only_one_that_ran(&census(began, threads));
        assert_eq!(only(&[(1, 5, 0, 9), (2, 5, 0, 10)]), Some(2));
        assert_eq!(only(&[(1, 5, 0, 9), (2, 5, 0, 9)]), None);
        assert_eq!(only(&[(1, 6, 0, 9), (2, 5, 0, 10)]), None);
        // One that has come since.
        assert_eq!(only(&[(1, 5, 0, 9), (2, 5, 0, 9), (7, 1, 0, 1)]), Some(7));
    }

    #[test]
    fn who_is_left() {
        let census = census(clock::now(), &[(1, 5, 0, 9), (2, 5, 0, 9), (3, 5, 0, 9)]);
        assert_eq!(census.only_one_but(|id| id != 2), Some(2));
        assert_eq!(census.only_one_but(|id| id == 2), None);
        assert_eq!(census.only_one_but(|_| true), None);
    }

    #[test]
    fn threads_of_a_kind_differ_by_a_number() {
        assert_eq!(kind("worker-17"), kind("worker-2"));
        assert_ne!(kind("worker-17"), kind("main"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn counts_the_threads_of_this_kind() {
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let other = std::thread::Builder::new().name("counted-7".to_owned());
            let counted = other.spawn_scoped(scope, move || {
                let id = crate::stall::OsThread::current().id.unwrap();
                let census = Census::take(id).unwrap();
                drop(receiver);
                (id, census)
            });
            let (id, census) = counted.unwrap().join().unwrap();
            drop(sender);
            let ids: Vec<_> = census.threads.iter().map(|(id, _)| *id).collect();
            assert_eq!(ids, [id]);
        });
    }
}
