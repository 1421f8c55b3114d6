//! The watchdog's clock and detectors under any sequence of observations. See `crate::fuzzing`.

use std::time::{Duration, Instant};

use super::awake_clock::{AwakeClock, AwakeInstant};
use super::detector::{Detector, Driven, Observation, Transition};
use super::root_detector::{Judgement, RootDetector, RootSeen, RootTransition};
use super::throttle;
use crate::clock;
use crate::procfs::Times;
use crate::runtime::WorkerCounters;
use crate::stall::Phase;

/// Reads `/proc/self/cgroup`, and a group's `cpu.stat`. Returns how many files the first names, and how often and
/// for how long the group was throttled.
pub fn control_groups(groups: &str, stat: &str) -> (usize, Option<(u64, Duration)>) {
    let throttled = throttle::parse(stat);
    let throttled = throttled.map(|throttled| (throttled.periods, throttled.time));
    (throttle::files(groups).count(), throttled)
}

/// The watchdog's clock.
#[derive(Debug)]
pub struct Clock {
    awake: AwakeClock,
    now: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        let now = clock::now();
        Clock {
            awake: AwakeClock::new(now),
            now,
        }
    }
}

impl Clock {
    /// Returns whether the watchdog was interrupted while it worked.
    pub fn worked(&mut self, lasted: Duration) -> bool {
        self.now += lasted;
        self.awake.worked(self.now).is_some()
    }

    /// Returns whether a sleep was late.
    pub fn slept(&mut self, lasted: Duration, asked: Duration) -> bool {
        self.now += lasted;
        self.awake.slept(self.now, asked).is_some()
    }

    /// Returns how long the watchdog has been awake, and how much time is lost.
    pub fn time(&self) -> (Duration, Duration) {
        let time = self.awake.time();
        (time.now.since(AwakeInstant::START), time.lost)
    }
}

/// What a detector has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the transitions of the detectors")]
pub enum Found {
    Nothing,
    /// With the number of what is suspected, if it has one.
    Suspected(u32),
    Cleared,
    Started(Duration),
    Ongoing(Duration),
    Ended(Duration),
}

impl Found {
    fn live(phase: Phase, stuck_for: Duration) -> Found {
        match phase {
            Phase::Started => Found::Started(stuck_for),
            _ => Found::Ongoing(stuck_for),
        }
    }
}

/// A worker with its detector.
#[derive(Debug)]
pub struct Worker(Detector);

impl Worker {
    /// `driven` chooses how the worker is driven; zero is by a thread of its own.
    pub fn new(threshold: Duration, driven: u8, is_known_to_run: bool) -> Worker {
        let driven = match driven % 4 {
            0 => Driven::Always,
            1 => Driven::Continuous,
            2 => Driven::MaybeIntermittent,
            _ => Driven::Intermittent,
        };
        let first = Observation {
            time: AwakeClock::new(clock::now()).time(),
            counters: WorkerCounters::default(),
            progress: is_known_to_run,
        };
        Worker(Detector::new(threshold, driven, first))
    }

    /// Observes counters of parks and unparks, and of busy time.
    pub fn observe(
        &mut self,
        clock: &Clock,
        (parks_and_unparks, busy): (u64, Duration),
        progress: bool,
    ) -> Found {
        let transition = self.0.observe(Observation {
            time: clock.awake.time(),
            counters: WorkerCounters {
                parks_and_unparks,
                busy,
            },
            progress,
        });
        match transition {
            Transition::None => Found::Nothing,
            Transition::Suspected => Found::Suspected(0),
            Transition::Cleared => Found::Cleared,
            Transition::Live {
                phase, stuck_for, ..
            } => Found::live(phase, stuck_for),
            Transition::Over { lasted, .. } => Found::Ended(lasted),
        }
    }

    /// Returns when the next transition is due, as time awake.
    pub fn due_at(&self) -> Option<Duration> {
        let due = self.0.due_at()?;
        Some(due.since(AwakeInstant::START))
    }
}

/// A thread that may call `block_on`, with its detector.
#[derive(Debug)]
pub struct Root(RootDetector);

impl Root {
    /// `tick` is how often the thread is looked at.
    pub fn new(threshold: Duration, tick: Duration, parks_are_counted: bool) -> Root {
        Root(RootDetector::new(threshold, tick, parks_are_counted))
    }

    /// Observes the times on a CPU and waiting for one, with the turns; and what is judged of the stretch with this
    /// number: whether it is a poll, and for how long it is seen in it. A stall began `not_before` so much time awake.
    pub fn observe(
        &mut self,
        clock: &Clock,
        times: Option<(Duration, Duration, u64)>,
        not_before: Duration,
        (number, polls, seen_for): (u32, bool, Duration),
    ) -> Found {
        let transition = self.0.observe(RootSeen {
            time: clock.awake.time(),
            times: times.map(|(on_cpu, waited, turns)| Times {
                on_cpu,
                waited,
                turns,
            }),
            not_before: AwakeInstant::START + not_before,
            judgement: Judgement {
                number,
                polls,
                seen_for,
            },
        });
        match transition {
            RootTransition::None => Found::Nothing,
            RootTransition::Suspected(stretch) => Found::Suspected(stretch.number),
            RootTransition::Cleared => Found::Cleared,
            RootTransition::Live { phase, stuck_for } => Found::live(phase, stuck_for),
            RootTransition::Over { lasted } => Found::Ended(lasted),
        }
    }

    /// Returns when to look next, as time awake.
    pub fn due_at(&self) -> Option<Duration> {
        let due = self.0.due_at()?;
        Some(due.since(AwakeInstant::START))
    }
}
