//! Any sequence of observations, as the watchdog's clock and detectors have it, against what every sequence must
//! show.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use loopmon::fuzzing::{Clock, Found, Root, Worker};

fuzz_target!(|input: (u8, u8, Vec<[u8; 8]>)| {
    let (threshold, how, looks) = input;
    let threshold = millis(u16::from(threshold) + 1);
    let mut clock = Clock::default();
    let mut worker = WatchedWorker::new(threshold, how);
    let mut root = WatchedRoot::new(threshold, how);
    for look in looks {
        pass(&mut clock, look[0], look[1]);
        worker.look(&clock, look[2], look[3]);
        root.look(&clock, look);
    }
});

const fn millis(millis: u16) -> Duration {
    Duration::from_millis(millis as u64)
}

/// The watchdog works, and then sleeps.
fn pass(clock: &mut Clock, work: u8, sleep: u8) {
    let (before_awake, before_lost) = clock.time();
    let (worked, asked) = (millis(work.into()) / 16, millis((sleep >> 4).into()));
    // Once in a while it oversleeps by far.
    let late = millis((sleep & 15).into()) * if sleep % 16 > 12 { 40 } else { 1 };
    clock.worked(worked);
    clock.slept(asked + late, asked);
    let (awake, lost) = clock.time();
    assert_eq!(
        awake - before_awake + (lost - before_lost),
        worked + asked + late
    );
}

/// A worker, and a model of what its detector must find.
struct WatchedWorker {
    worker: Worker,
    threshold: Duration,
    /// The worker has a thread of its own: then the model knows all that is to be found.
    is_exact: bool,
    counters: (u64, Duration),
    /// When the counters were first seen to be these, as time awake.
    since: Duration,
    is_suspected: bool,
    /// How many live reports there were of the present stall.
    reports: u32,
}

impl WatchedWorker {
    fn new(threshold: Duration, how: u8) -> WatchedWorker {
        WatchedWorker {
            worker: Worker::new(threshold, how, how & 4 == 0),
            threshold,
            is_exact: how % 4 == 0,
            counters: (0, Duration::ZERO),
            since: Duration::ZERO,
            is_suspected: false,
            reports: 0,
        }
    }

    fn look(&mut self, clock: &Clock, how: u8, busy: u8) {
        let (now, _) = clock.time();
        let before = self.counters;
        self.counters.0 += u64::from(how & 3);
        if how & 12 == 12 {
            self.counters.1 += millis(busy.into());
        }
        let found = self.worker.observe(clock, self.counters, how & 16 != 0);
        let busy = self.counters.1 - before.1;
        let moved = self.counters != before;
        if moved {
            self.went_on(found, busy);
            self.since = now;
        } else {
            self.stays(found, now - self.since);
        }
        if let Some(due) = self.worker.due_at() {
            assert!(due >= self.since, "{due:?}");
        }
    }

    fn went_on(&mut self, found: Found, busy: Duration) {
        match found {
            Found::Ended(lasted) if self.reports == 0 => {
                assert!(
                    lasted == busy && busy >= self.threshold,
                    "{lasted:?} of {busy:?}"
                );
            }
            Found::Ended(lasted) => assert!(lasted >= self.threshold.max(busy), "{lasted:?}"),
            Found::Cleared => assert!(self.is_suspected && self.reports == 0),
            Found::Nothing => assert!(!self.is_suspected && self.reports == 0),
            Found::Suspected(_) | Found::Started(_) | Found::Ongoing(_) => panic!("{found:?}"),
        }
        (self.is_suspected, self.reports) = (false, 0);
    }

    fn stays(&mut self, found: Found, stuck_for: Duration) {
        let is_parked = self.counters.0 % 2 == 1;
        let due = match (self.is_suspected, self.reports) {
            (false, _) => self.threshold / 2,
            (true, reports) => self.threshold * (1 << reports),
        };
        match found {
            Found::Nothing if self.is_exact && !stuck_for.is_zero() => {
                assert!(is_parked || stuck_for < due, "silent after {stuck_for:?}");
            }
            Found::Nothing => return,
            Found::Suspected(_) => assert!(!self.is_suspected),
            Found::Started(told) | Found::Ongoing(told) => {
                let is_first = matches!(found, Found::Started(_));
                assert!(self.is_suspected && is_first == (self.reports == 0));
                assert!(told == stuck_for || !self.is_exact && told < stuck_for);
                assert!(told >= due);
                self.reports += 1;
            }
            Found::Cleared | Found::Ended(_) => panic!("{found:?}"),
        }
        if found != Found::Nothing {
            assert!(!is_parked && stuck_for >= due);
            self.is_suspected = true;
        }
    }
}

/// A thread that calls `block_on`, and what is known of it.
struct WatchedRoot {
    root: Root,
    threshold: Duration,
    times: (Duration, Duration, u64),
    not_before: Duration,
    /// The number of what is suspected, and whether that is judged to be a poll.
    suspected: Option<u32>,
    judged: Option<bool>,
    is_open: bool,
    number: u32,
}

impl WatchedRoot {
    fn new(threshold: Duration, how: u8) -> WatchedRoot {
        WatchedRoot {
            root: Root::new(threshold, threshold / 5, how & 8 != 0),
            threshold,
            times: (Duration::ZERO, Duration::ZERO, 1),
            not_before: Duration::ZERO,
            suspected: None,
            judged: None,
            is_open: false,
            number: 0,
        }
    }

    fn look(&mut self, clock: &Clock, look: [u8; 8]) {
        let [.., how, on_cpu, waited, judged] = look;
        let (now, _) = clock.time();
        self.times.0 += millis(on_cpu.into());
        self.times.1 += millis(waited.into()) / 8;
        self.times.2 += u64::from(on_cpu | waited != 0);
        if how & 3 == 3 {
            self.not_before = now;
        }
        if self.suspected.is_some() && self.judged.is_none() && judged & 1 != 0 {
            self.judged = Some(judged & 6 != 0);
        }
        let times = (how & 0x70 != 0x70).then_some(self.times);
        let number = self.suspected.filter(|_| self.judged.is_some());
        let judgement = (
            number.unwrap_or(0),
            self.judged.unwrap_or(false),
            millis(judged.into()) * 8,
        );
        let found = self.root.observe(clock, times, self.not_before, judgement);
        self.check(found, now);
    }

    fn check(&mut self, found: Found, now: Duration) {
        match found {
            Found::Nothing => return,
            Found::Suspected(number) => {
                assert!(!self.is_open);
                assert_eq!(number, self.number + 1);
                (self.suspected, self.judged, self.number) = (Some(number), None, number);
            }
            Found::Started(told) | Found::Ongoing(told) => {
                assert_eq!(matches!(found, Found::Ongoing(_)), self.is_open);
                assert_eq!(self.judged, Some(true));
                assert!(told >= self.threshold && told <= now);
                self.is_open = true;
            }
            Found::Cleared => {
                assert!(self.suspected.is_some() && !self.is_open);
                (self.suspected, self.judged) = (None, None);
            }
            Found::Ended(lasted) => {
                assert!(self.is_open && lasted >= self.threshold);
                (self.suspected, self.judged, self.is_open) = (None, None, false);
            }
        }
    }
}
