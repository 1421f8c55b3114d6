//! Workers that nobody may drive.

use super::*;

#[test]
fn a_current_thread_runtime_between_two_calls_of_block_on() {
    let mut watched = Watched::driven(Driven::Continuous);
    watched.still(300).park_after(1);
    watched.found(&[
        (Phase::Started, 25, None),
        (Phase::Ongoing, 50, None),
        (Phase::Ongoing, 100, None),
        (Phase::Ongoing, 200, None),
        (Phase::Ended, 300, Some(Cause::Unattended)),
    ]);
    // It has learned from it.
    watched.found.clear();
    watched.unpark().still(300).park_after(1).found(&[]);
}

#[test]
fn a_gap_below_the_threshold_teaches_as_well() {
    let mut watched = Watched::driven(Driven::Continuous);
    watched.still(20).park_after(1);
    watched.unpark().still(300).park_after(1).found(&[]);
}

#[test]
fn a_runtime_that_may_be_intermittent_is_reported_when_it_is_certain() {
    let mut watched = Watched::driven(Driven::MaybeIntermittent);
    watched.still(300).park_after(301);
    watched.found(&[(Phase::Ended, 301, None)]);
    // What was stuck was a poll, so the next is reported while it lasts.
    watched.found.clear();
    watched.unpark().still(30).park_after(31);
    watched.found(&[(Phase::Started, 25, None), (Phase::Ended, 31, None)]);
}

#[test]
fn a_runtime_that_is_intermittent_stays_so() {
    let mut watched = Watched::driven(Driven::Intermittent);
    watched.still(300).park_after(1).found(&[]);
    // A poll between two gaps says nothing of the next gap.
    watched.unpark().still(300).park_after(301);
    watched.found(&[(Phase::Ended, 301, None)]);
    watched.found.clear();
    watched.unpark().still(300).park_after(1).found(&[]);
}

#[test]
fn a_worker_with_a_thread_of_its_own_that_has_parked_is_watched_at_once() {
    let seen = Observation {
        time: time(0, 0, 0),
        counters: WorkerCounters {
            parks_and_unparks: 2,
            busy: Duration::ZERO,
        },
        progress: false,
    };
    for (driven, found) in [(Driven::Always, true), (Driven::Continuous, false)] {
        let mut detector = Detector::new(ms(25), driven, seen);
        let mut is_reported = false;
        for now in 1..60 {
            let transition = detector.observe(Observation {
                time: time(now, 0, 0),
                ..seen
            });
            is_reported |= matches!(
                transition,
                Transition::Live { .. } | Transition::Over { .. }
            );
        }
        assert_eq!(is_reported, found, "{driven:?}");
    }
}

#[test]
fn it_is_certain_too_when_the_worker_has_gone_on_with_other_things() {
    let mut watched = Watched::driven(Driven::Intermittent);
    watched.still(300);
    watched.parks_and_unparks += 4;
    watched.publish(303).found(&[(Phase::Ended, 303, None)]);
}

#[test]
fn several_short_batches_are_no_stall() {
    let mut watched = Watched::running();
    watched.still(20);
    watched.parks_and_unparks += 4;
    watched.publish(26).found(&[]);
}

#[test]
fn nobody_drives_it_as_its_thread_is_gone() {
    let mut watched = Watched::driven(Driven::Continuous);
    watched.still(20);
    let seen = Observation {
        time: time(watched.now, 0, 0),
        counters: watched.detector.counters,
        progress: false,
    };
    assert!(watched.detector.set_undriven(seen));
    watched.still(300).park_after(1).found(&[]);
}
