//! One long poll, or many shorter ones.

use super::*;

#[test]
fn medium_polls_with_a_sleep_between() {
    let mut watched = Watched::running();
    for _ in 0..200 {
        watched.park_after(5).unpark();
    }
    watched.found(&[]);
}

#[test]
fn many_medium_polls_in_a_row() {
    let mut watched = Watched::running();
    let many = Some(Cause::ManyPolls);
    for _ in 0..12 {
        watched.progress();
    }
    watched.publish(61).found(&[
        (Phase::Started, 25, many),
        (Phase::Ongoing, 50, many),
        (Phase::Ended, 61, many),
    ]);
}

#[test]
fn a_short_poll_and_then_a_long_one() {
    let mut watched = Watched::running();
    watched.progress().still(50).publish(56).found(&[
        (Phase::Started, 25, None),
        (Phase::Ongoing, 50, None),
        (Phase::Ended, 56, None),
    ]);
}

#[test]
fn many_short_polls_and_then_a_long_one() {
    let mut watched = Watched::running();
    for _ in 0..4 {
        watched.progress();
    }
    watched.still(60).publish(82).found(&[
        (Phase::Started, 25, Some(Cause::ManyPolls)),
        (Phase::Ongoing, 50, None),
        (Phase::Ended, 82, None),
    ]);
}

#[test]
fn a_long_poll_and_then_short_ones_before_the_counters_are_published() {
    let mut watched = Watched::running();
    watched.still(55).progress().publish(62).found(&[
        (Phase::Started, 25, None),
        (Phase::Ongoing, 50, None),
        (Phase::Ended, 62, None),
    ]);
}
