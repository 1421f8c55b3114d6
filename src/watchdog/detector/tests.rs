//! Each scenario that the watchdog must get right, as counters and times.

mod intermittent;
mod polls;

use super::*;

const THRESHOLD: Duration = ms(25);
const TICK: u64 = 5;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn time(now: u64, lost: u64, held_up: u64) -> AwakeTime {
    AwakeTime {
        now: AwakeInstant::START + ms(now),
        lost: ms(lost),
        held_up: ms(held_up),
    }
}

/// A worker, and a detector that observes it every tick.
struct Watched {
    detector: Detector,
    now: u64,
    lost: u64,
    held_up: u64,
    parks_and_unparks: u64,
    busy: u64,
    found: Vec<(Phase, u64, Option<Cause>)>,
}

impl Watched {
    fn new(driven: Driven, armed: bool) -> Watched {
        let first = Observation {
            time: time(0, 0, 0),
            counters: WorkerCounters {
                parks_and_unparks: 0,
                busy: Duration::ZERO,
            },
            progress: armed,
        };
        Watched {
            detector: Detector::new(THRESHOLD, driven, first),
            now: 0,
            lost: 0,
            held_up: 0,
            parks_and_unparks: 0,
            busy: 0,
            found: Vec::new(),
        }
    }

    /// A worker that has just come back from its park.
    fn running() -> Watched {
        Watched::driven(Driven::Always)
    }

    fn driven(driven: Driven) -> Watched {
        let mut watched = Watched::new(driven, false);
        watched.park();
        watched.unpark();
        watched
    }

    fn observe(&mut self, progress: bool) -> Transition {
        self.detector.observe(Observation {
            time: time(self.now, self.lost, self.held_up),
            counters: WorkerCounters {
                parks_and_unparks: self.parks_and_unparks,
                busy: ms(self.busy),
            },
            progress,
        })
    }

    fn tick(&mut self, progress: bool) {
        self.now += TICK;
        let (phase, duration, hint) = match self.observe(progress) {
            Transition::Live {
                phase,
                stuck_for,
                hint,
            } => (phase, stuck_for, hint),
            Transition::Over { lasted, hint } => (Phase::Ended, lasted, hint),
            Transition::None | Transition::Suspected | Transition::Cleared => return,
        };
        let millis = u64::try_from(duration.as_millis()).unwrap();
        self.found.push((phase, millis, hint));
    }

    /// Nothing is published for a while.
    fn still(&mut self, millis: u64) -> &mut Watched {
        (0..millis / TICK).for_each(|_| self.tick(false));
        self
    }

    fn progress(&mut self) -> &mut Watched {
        self.tick(true);
        self
    }

    fn park(&mut self) -> &mut Watched {
        self.parks_and_unparks += 1;
        self.tick(false);
        self
    }

    fn unpark(&mut self) -> &mut Watched {
        self.park()
    }

    /// The batch ends without a park.
    fn publish(&mut self, busy: u64) -> &mut Watched {
        self.busy += busy;
        self.tick(false);
        self
    }

    /// The batch ends in a park.
    fn park_after(&mut self, busy: u64) -> &mut Watched {
        self.busy += busy;
        self.park()
    }

    #[track_caller]
    fn found(&self, expected: &[(Phase, u64, Option<Cause>)]) {
        assert_eq!(self.found, expected);
    }
}

#[test]
fn a_runtime_that_is_built_and_never_driven() {
    let mut watched = Watched::new(Driven::Continuous, false);
    watched.still(1_000).found(&[]);
}

#[test]
fn an_idle_worker_is_parked() {
    let mut watched = Watched::running();
    watched.park_after(1).still(1_000).found(&[]);
}

#[test]
fn one_poll_blocks() {
    let mut watched = Watched::running();
    watched.still(120).park_after(124).still(50).found(&[
        (Phase::Started, 25, None),
        (Phase::Ongoing, 50, None),
        (Phase::Ongoing, 100, None),
        (Phase::Ended, 124, None),
    ]);
}

#[test]
fn it_is_suspected_at_half_the_threshold() {
    let mut watched = Watched::running();
    watched.still(10);
    watched.now += TICK;
    assert_eq!(watched.observe(false), Transition::Suspected);
    watched.now += TICK;
    assert_eq!(watched.observe(false), Transition::None);
}

#[test]
fn the_very_first_poll_blocks_and_the_monitor_was_installed_inside() {
    let mut watched = Watched::new(Driven::Continuous, true);
    watched
        .still(40)
        .park_after(42)
        .found(&[(Phase::Started, 25, None), (Phase::Ended, 42, None)]);
}

#[test]
fn the_very_first_poll_blocks_and_the_monitor_was_installed_outside() {
    let mut watched = Watched::new(Driven::Continuous, false);
    watched
        .still(40)
        .park_after(42)
        .found(&[(Phase::Ended, 42, None)]);
}

#[test]
fn a_worker_with_a_thread_of_its_own_may_be_stuck_from_the_start() {
    let mut watched = Watched::new(Driven::Always, false);
    watched.still(60).park_after(900).found(&[
        (Phase::Started, 25, None),
        (Phase::Ongoing, 50, None),
        (Phase::Ended, 900, None),
    ]);
}

#[test]
fn a_worker_that_was_stuck_before_the_monitor_came_is_reported_afterwards() {
    let mut watched = Watched::new(Driven::Continuous, false);
    watched
        .still(500)
        .park_after(900)
        .found(&[(Phase::Ended, 900, None)]);
}

#[test]
fn a_block_that_is_over_before_the_next_tick() {
    let mut watched = Watched::running();
    watched
        .still(20)
        .park_after(26)
        .found(&[(Phase::Ended, 26, None)]);
}

#[test]
fn a_block_below_the_threshold() {
    let mut watched = Watched::running();
    watched.still(20).park_after(24).found(&[]);
}

#[test]
fn two_back_to_back_are_two() {
    let mut watched = Watched::running();
    let one = [(Phase::Started, 25, None), (Phase::Ended, 40, None)];
    watched.still(35).publish(40).still(35).publish(40);
    watched.found(&[one, one].concat());
    // Parked and back between two ticks.
    watched.found.clear();
    watched.parks_and_unparks += 2;
    watched.still(35).publish(40).still(35).publish(40);
    watched.found(&[one, one].concat());
}

#[test]
fn a_poll_of_the_threshold_that_ends_with_its_first_report() {
    let mut watched = Watched::running();
    watched
        .still(20)
        .progress()
        .publish(27)
        .found(&[(Phase::Started, 25, None), (Phase::Ended, 27, None)]);
}

#[test]
fn a_worker_that_block_in_place_has_moved_has_lost_its_busy_time() {
    let mut watched = Watched::running();
    for _ in 0..2 {
        watched.still(40).publish(1);
    }
    let one = [(Phase::Started, 25, None), (Phase::Ended, 40, None)];
    watched.found(&[one, one].concat());
}

/// Awake time stops, while Tokio counts the time as busy.
#[test]
fn a_healthy_runtime_is_stopped_in_mid_poll() {
    let mut watched = Watched::running();
    watched.still(5);
    watched.lost += 300;
    watched.park_after(310).found(&[]);
}

/// The watchdog sees nothing between the beginning and the end.
#[test]
fn a_poll_forks_a_large_process() {
    for was_parked in [true, false] {
        let mut watched = Watched::running();
        if was_parked {
            watched.park_after(1);
            watched.parks_and_unparks += 1;
        }
        (watched.now, watched.held_up) = (watched.now + 80, 80);
        // It is back for a short while before it is seen.
        watched.parks_and_unparks += 4;
        watched.park_after(83).found(&[(Phase::Ended, 83, None)]);
    }
}

#[test]
fn a_worker_with_little_to_do_is_held_up_while_another_forks() {
    let mut watched = Watched::running();
    watched.park_after(1);
    (watched.now, watched.held_up) = (watched.now + 80, 80);
    watched.parks_and_unparks += 1;
    watched.park_after(3).still(50).found(&[]);
}

/// It began up to a tick before it was first seen, and was over before it was reported.
#[test]
fn every_batch_of_the_threshold_is_reported_at_its_end_at_least() {
    for batch in 25..40 {
        for phase in 0..TICK {
            let mut watched = Watched::running();
            watched.park_after(1);
            // It comes back `phase` after the last tick.
            watched.unpark();
            watched.still((batch + phase - 1) / TICK * TICK - TICK);
            watched.park_after(batch);
            let last = watched.found.last().map(|found| (found.0, found.1));
            assert_eq!(last, Some((Phase::Ended, batch)), "{batch} {phase}");
        }
    }
}

#[test]
fn the_longest_threshold_is_never_exceeded() {
    let mut watched = Watched::running();
    watched.detector.threshold = Duration::MAX;
    watched.still(400).park_after(401);
    watched.found(&[]);
}

#[test]
fn a_worker_that_was_away_is_away_while_the_process_is_stopped() {
    let mut watched = Watched::running();
    watched.still(40).park_after(345);
    watched.found(&[(Phase::Started, 25, None), (Phase::Ended, 345, None)]);
}

#[test]
fn the_next_tick_is_due_when_there_may_be_something_to_find() {
    let mut watched = Watched::running();
    assert_eq!(watched.detector.due_at(), None);
    let began = AwakeInstant::START + ms(watched.now);
    for (still, due) in [(5, 25 / 2), (20, 25), (25, 50), (50, 100)] {
        while AwakeInstant::START + ms(watched.now) < began + ms(still) {
            watched.tick(false);
        }
        let due_after = watched.detector.due_at().unwrap().since(began);
        assert_eq!(due_after.as_millis(), due, "after {still} ms");
    }
    watched.park();
    assert_eq!(watched.detector.due_at(), None);
}

#[test]
fn a_runtime_that_has_shut_down_stands_still_for_ever() {
    let mut watched = Watched::running();
    watched.park_after(1).still(1_000);
    watched.found(&[]);
    assert!(!watched.detector.is_stuck());
}
