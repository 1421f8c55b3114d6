//! When the thread that calls `block_on` may be stuck in its future. Pure: works on what the system counts of
//! the thread, and the time is passed in. What follows from it: `root_watch.rs`.
//!
//! The thread may be stuck while it sleeps one and the same sleep, or runs without a rest. It does so outside
//! of a poll as well: so it is only suspected, and stuck if the inspector judges that it polls. Where Tokio counts
//! how often the thread parks, it may also sleep in between: that it has not parked is then known.
//!
//! Time is awake time (`awake_clock.rs`), so a pause of the whole process never looks like a stall.

use std::time::Duration;

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::evidence::COUNTED_LATE;
use crate::procfs::Times;
use crate::stall::Phase;

/// A thread counts as running without a rest if it ran, or waited for a CPU, for this many percent of the
/// time.
const THROUGHOUT: u32 = 70;

/// A shorter run is not suspected: what the kernel has counted of it is not exact.
const SHORTEST_RUN: Duration = Duration::from_millis(20);

/// How often to look for the verdict, and for the end of a stall, at the most. The watchdog's clock loses time
/// with each sleep that is too long.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(2);

/// The end of a stall is found one part in so many of its duration late, at the most.
const PRECISION: u32 = 50;

/// What the watchdog sees of the thread at one tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct RootSeen {
    pub(super) time: AwakeTime,
    /// `None` if the thread has ended, or the system does not count.
    pub(super) times: Option<Times>,
    /// But for one long sleep, a stall cannot have begun before.
    pub(super) not_before: AwakeInstant,
    pub(super) judgement: Judgement,
}

/// What the inspector has found out of a stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The number of the stretch. The first has the number 1.
    pub(super) number: u32,
    /// Whether the thread is in a poll.
    pub(super) polls: bool,
    /// For how long the thread has been seen to be in it, if it runs. The inspector may be late.
    pub(super) seen_for: Duration,
}

/// A time in which the thread did the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) number: u32,
    pub(super) is_asleep: bool,
    /// The times of the thread when it was suspected. While it sleeps, they stay the same.
    pub(super) times: Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootTransition {
    None,
    /// It is time to judge.
    Suspected(Stretch),
    /// The suspicion is not confirmed, or is over in time.
    Cleared,
    /// The stall goes on, and a report is due.
    Live {
        phase: Phase,
        stuck_for: Duration,
    },
    /// The stall is over. It includes what the clock has lost meanwhile.
    Over {
        lasted: Duration,
    },
}

/// When the thread began to do what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Since {
    at: AwakeInstant,
    /// The last observation before.
    before: AwakeTime,
    times: Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Judgement,
    /// The thread does not poll.
    Nothing,
    Report {
        phase: Phase,
        after: Duration,
    },
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    number: u32,
    is_asleep: bool,
    since: Since,
    /// The thread is known to be in a poll since then.
    stuck_since: AwakeInstant,
    next: Next,
}

#[derive(Debug)]
pub(super) struct RootDetector {
    threshold: Duration,
    tick: Duration,
    /// Whether Tokio's counters show when the thread parks.
    parks_are_counted: bool,
    /// The number of the last stretch that was suspected.
    number: u32,
    /// The last observation.
    seen: Option<AwakeTime>,
    /// `None` until the first observation.
    asleep: Option<Since>,
    running: Option<Since>,
    suspicion: Option<Suspicion>,
}

impl RootDetector {
    pub(super) fn new(
        threshold: Duration,
        tick: Duration,
        parks_are_counted: bool,
    ) -> RootDetector {
        RootDetector {
            threshold,
            tick,
            parks_are_counted,
            number: 0,
            seen: None,
            asleep: None,
            running: None,
            suspicion: None,
        }
    }

    pub(super) fn observe(&mut self, seen: RootSeen) -> RootTransition {
        self.follow(seen);
        self.seen = Some(seen.time);
        let Some(mut suspicion) = self.suspicion.take() else {
            return self.suspect(seen);
        };
        let judged = (seen.judgement.number == suspicion.number).then_some(seen.judgement.polls);
        let goes_on = if suspicion.is_asleep {
            self.asleep == Some(suspicion.since)
        } else {
            // That a thread runs on, or waits for a CPU, is for the inspector to see.
            seen.times.is_some() && suspicion.since.at >= seen.not_before
        };
        if goes_on && judged != Some(false) {
            let judged = judged.map(|_| seen.judgement);
            let transition = suspicion.go_on(seen.time.now, self.threshold, judged);
            self.suspicion = Some(suspicion);
            return transition;
        }
        let transition = suspicion.end(seen.time);
        if goes_on && suspicion.is_asleep {
            // It sleeps on, and does not poll: nothing more to find out.
            suspicion.next = Next::Nothing;
            self.suspicion = Some(suspicion);
        } else if goes_on {
            self.running = seen
                .times
                .map(|times| Since::new(seen.time, seen.time, times));
        }
        transition
    }

    /// Keeps track of since when the thread sleeps, and since when it runs.
    fn follow(&mut self, seen: RootSeen) {
        let Some(times) = seen.times else {
            (self.asleep, self.running) = (None, None);
            return;
        };
        let new = Since::new(seen.time, self.seen.unwrap_or(seen.time), times);
        let same = self.asleep.filter(|asleep| asleep.times == times);
        self.asleep = Some(same.unwrap_or(new));
        let goes_on = |running: &Since| {
            running.at >= seen.not_before
                && (self.parks_are_counted || running.ran_until(seen.time.now, times))
        };
        self.running = Some(self.running.filter(goes_on).unwrap_or(new));
    }

    fn suspect(&mut self, seen: RootSeen) -> RootTransition {
        let (Some(times), Some(asleep), Some(running)) = (seen.times, self.asleep, self.running)
        else {
            return RootTransition::None;
        };
        let sleeps = seen.time.now.since(asleep.at) >= self.threshold / 2;
        // If it sleeps for long, it is better to wait until that shows.
        let is_awake = seen.time.now.since(asleep.at) < self.shortest_run();
        let runs = is_awake && seen.time.now.since(running.at) >= self.shortest_run();
        if !sleeps && !runs {
            return RootTransition::None;
        }
        self.number = self.number.wrapping_add(1);
        let since = if sleeps { asleep } else { running };
        self.suspicion = Some(Suspicion {
            number: self.number,
            is_asleep: sleeps,
            since,
            stuck_since: since.at,
            next: Next::Judgement,
        });
        RootTransition::Suspected(Stretch {
            number: self.number,
            is_asleep: sleeps,
            times,
        })
    }

    /// What the thread does before it is first looked at may be no poll. So a thread that runs is looked at
    /// soon.
    fn shortest_run(&self) -> Duration {
        SHORTEST_RUN.max(self.threshold / 5)
    }

    /// When to look next.
    pub(super) fn due_at(&self) -> Option<AwakeInstant> {
        let now = self.seen?.now;
        let Some(suspicion) = self.suspicion else {
            let asleep = self.asleep?.at + self.threshold / 2;
            return (asleep > now).then_some(asleep);
        };
        let stuck_for = now.since(suspicion.stuck_since);
        let soon = (stuck_for / PRECISION)
            .max(SHORTEST_INTERVAL)
            .min(self.tick);
        let soon = now + soon;
        match suspicion.next {
            Next::Nothing => None,
            Next::Judgement => Some(soon),
            Next::Report { after, .. } => {
                let report = suspicion.stuck_since + after;
                let waits = !suspicion.is_open() && report > now;
                Some(if waits { report } else { soon })
            }
        }
    }

    /// Whether the thread is not suspected, or known not to poll.
    pub(super) fn is_at_rest(&self) -> bool {
        self.suspicion.is_none_or(|it| it.next == Next::Nothing)
    }

    /// Whether a stall has been reported and goes on.
    pub(super) fn is_open(&self) -> bool {
        self.suspicion.is_some_and(|it| it.is_open())
    }

    /// For how long the thread has been seen in what is suspected.
    pub(super) fn stuck_for(&self) -> Duration {
        match (self.seen, &self.suspicion) {
            (Some(seen), Some(it)) => seen.now.since(it.stuck_since),
            _ => Duration::ZERO,
        }
    }

    /// Since when the thread is in what is suspected, at the earliest.
    pub(super) fn began(&self) -> AwakeInstant {
        let suspicion = self.suspicion.as_ref();
        suspicion.map_or(AwakeInstant::START, |it| it.since.before.now)
    }
}

impl Since {
    fn new(seen: AwakeTime, before: AwakeTime, times: Times) -> Since {
        Since {
            at: seen.now,
            before,
            times,
        }
    }

    fn ran_until(&self, now: AwakeInstant, times: Times) -> bool {
        let on_cpu = times.on_cpu.saturating_sub(self.times.on_cpu);
        let waited = times.waited.saturating_sub(self.times.waited);
        on_cpu + waited + COUNTED_LATE >= now.since(self.at) * THROUGHOUT / 100
    }
}

impl Suspicion {
    fn is_open(&self) -> bool {
        matches!(
            self.next,
            Next::Report {
                phase: Phase::Ongoing,
                ..
            }
        )
    }

    fn go_on(
        &mut self,
        now: AwakeInstant,
        threshold: Duration,
        judged: Option<Judgement>,
    ) -> RootTransition {
        if self.next == Next::Judgement && judged.is_some() {
            if !self.is_asleep {
                self.stuck_since = now;
            }
            self.next = Next::Report {
                phase: Phase::Started,
                after: threshold,
            };
        }
        let stuck_for = now.since(self.stuck_since);
        let seen_for = judged.map_or(Duration::ZERO, |judged| judged.seen_for);
        match self.next {
            Next::Report { phase, after }
                if stuck_for >= after && (self.is_asleep || seen_for >= after) =>
            {
                self.next = Next::Report {
                    phase: Phase::Ongoing,
                    after: after.saturating_mul(2),
                };
                RootTransition::Live { phase, stuck_for }
            }
            _ => RootTransition::None,
        }
    }

    fn end(&self, time: AwakeTime) -> RootTransition {
        match self.next {
            Next::Nothing => RootTransition::None,
            _ if self.is_open() => RootTransition::Over {
                lasted: time.since(self.since.before),
            },
            _ => RootTransition::Cleared,
        }
    }
}

#[cfg(test)]
mod tests;
