use std::collections::BTreeMap;

use super::*;
use crate::clock;
use crate::stall::{Phase, StallId};

/// What a ledger has written, by worker; `None` is all workers.
#[derive(Debug, Default)]
struct Written {
    stalls: BTreeMap<Option<usize>, usize>,
    time: BTreeMap<Option<usize>, Duration>,
    longest: BTreeMap<Option<usize>, Duration>,
    open: usize,
}

impl StallSink for Written {
    type Series = Option<usize>;

    fn create(&mut self, place: Option<&Place>) -> Option<usize> {
        place.and_then(Place::worker)
    }

    fn count(&mut self, series: &Option<usize>, _: Cause) {
        *self.stalls.entry(*series).or_default() += 1;
    }

    fn add_time(&mut self, series: &mut Option<usize>, stalled: Duration) {
        *self.time.entry(*series).or_default() += stalled;
    }

    fn set_longest(&mut self, series: &Option<usize>, lasted: Duration) {
        self.longest.insert(*series, lasted);
    }

    fn set_open(&mut self, count: usize) {
        self.open = count;
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn report(phase: Phase, id: &str, worker: usize, duration: u64) -> Stall {
    Stall {
        id: StallId::of(&id),
        duration: seconds(duration),
        ..Stall::of(worker, phase)
    }
}

#[test]
fn all_reports_of_one_stall_count_once_and_their_time_once() {
    let (mut ledger, mut written) = (StallLedger::new(Some(None)), Written::default());
    let t0 = clock::now();
    let mut stall = |phase, duration| {
        let report = report(phase, "one", 0, duration);
        ledger.stall(&report, t0 + seconds(duration), &mut written);
        assert_eq!(ledger.wants_tick(), phase != Phase::Ended);
        assert_eq!(written.stalls[&None], 1);
        assert_eq!(written.time[&None], seconds(duration));
    };
    stall(Phase::Started, 1);
    stall(Phase::Ongoing, 2);
    stall(Phase::Ongoing, 4);
    stall(Phase::Ended, 7);
}

#[test]
fn an_open_stall_grows_until_its_next_report_is_overdue() {
    let (mut ledger, mut written) = (StallLedger::new(Some(None)), Written::default());
    let t0 = clock::now();
    ledger.stall(&report(Phase::Started, "one", 0, 2), t0, &mut written);
    for (passed, lasted) in [(1, 3), (1, 3), (2, 4), (60, 4)] {
        ledger.tick(t0 + seconds(passed), &mut written);
        assert_eq!(written.time[&None], seconds(lasted));
        assert_eq!(written.longest[&None], seconds(lasted));
    }
    // It was shorter than it seemed: a total does not shrink.
    ledger.stall(&report(Phase::Ended, "one", 0, 3), t0, &mut written);
    assert_eq!(written.time[&None], seconds(4));
    assert_eq!((written.open, written.longest[&None]), (0, Duration::ZERO));
}

#[test]
fn places_share_a_series_or_have_their_own() {
    let t0 = clock::now();
    for (all, longest) in [
        (Some(None), vec![(None, seconds(3))]),
        (None, vec![(Some(2), seconds(3)), (Some(5), seconds(1))]),
    ] {
        let (mut ledger, mut written) = (StallLedger::new(all), Written::default());
        ledger.stall(&report(Phase::Started, "one", 2, 3), t0, &mut written);
        ledger.stall(&report(Phase::Started, "other", 5, 1), t0, &mut written);
        assert_eq!(Vec::from_iter(written.longest), longest);
        assert_eq!(written.stalls.values().sum::<usize>(), 2);
        assert_eq!(written.open, 2);
    }
}

#[test]
fn a_worker_is_in_one_stall_at_a_time() {
    let (mut ledger, mut written) = (StallLedger::new(None), Written::default());
    let t0 = clock::now();
    // The end of the first was lost.
    ledger.stall(&report(Phase::Started, "one", 0, 5), t0, &mut written);
    ledger.stall(&report(Phase::Started, "other", 0, 1), t0, &mut written);
    assert_eq!(written.stalls[&Some(0)], 2);
    assert_eq!((written.open, written.longest[&Some(0)]), (1, seconds(1)));
}

#[test]
fn stalls_whose_end_may_be_lost_are_open_no_more_until_they_are_reported_again() {
    let (mut ledger, mut written) = (StallLedger::new(None), Written::default());
    let t0 = clock::now();
    ledger.stall(&report(Phase::Started, "one", 0, 1), t0, &mut written);
    let mut after_loss = report(Phase::Started, "other", 1, 1);
    after_loss.missed = 3;
    ledger.stall(&after_loss, t0, &mut written);
    assert_eq!(written.open, 1);
    assert_eq!(written.longest[&Some(0)], Duration::ZERO);
    ledger.stall(&report(Phase::Ongoing, "one", 0, 2), t0, &mut written);
    assert_eq!((written.open, written.stalls[&Some(0)]), (2, 1));
}

#[test]
fn what_was_open_is_returned_and_forgotten() {
    let (mut ledger, mut written) = (StallLedger::new(None), Written::default());
    let t0 = clock::now();
    ledger.stall(&report(Phase::Started, "one", 0, 1), t0, &mut written);
    let open = ledger.take_open();
    let open: Vec<_> = open
        .iter()
        .map(|stall| (stall.id, stall.lasted(t0)))
        .collect();
    assert_eq!(open, [(StallId::of(&"one"), seconds(1))]);
    assert!(!ledger.wants_tick());
    ledger.tick(t0, &mut written);
    assert_eq!(
        (written.open, written.longest[&Some(0)]),
        (0, Duration::ZERO)
    );
    assert_eq!(written.time[&Some(0)], seconds(1));
}

fn future(phase: Phase, id: &str, name: &str) -> Stall {
    Stall {
        place: Place::Future(name.into()),
        ..report(phase, id, 0, 1)
    }
}

#[test]
fn several_futures_of_one_name_may_be_stalled_at_once() {
    let (mut ledger, mut written) = (StallLedger::new(None), Written::default());
    let t0 = clock::now();
    for (phase, id, open) in [
        (Phase::Started, "one", 1),
        (Phase::Started, "two", 2),
        (Phase::Ended, "one", 1),
        (Phase::Ended, "two", 0),
    ] {
        ledger.stall(&future(phase, id, "handler"), t0, &mut written);
        assert_eq!((written.open, ledger.series.len()), (open, 1), "{id}");
    }
    assert_eq!(written.stalls[&None], 2);
    assert_eq!(written.time[&None], seconds(2));
}

#[test]
fn a_future_whose_end_may_be_lost_is_forgotten_when_its_next_report_is_overdue() {
    let (mut ledger, mut written) = (StallLedger::new(None), Written::default());
    let t0 = clock::now();
    ledger.stall(&future(Phase::Started, "one", "handler"), t0, &mut written);
    let missed = Stall {
        missed: 1,
        ..future(Phase::Ended, "two", "handler")
    };
    ledger.stall(&missed, t0, &mut written);
    assert!(ledger.wants_tick(), "it may go on");
    ledger.stall(&missed, t0 + seconds(3), &mut written);
    assert!(!ledger.wants_tick());
}

#[test]
fn any_number_of_names_takes_a_bounded_number_of_series() {
    let (mut ledger, mut written) = (StallLedger::new(None), Written::default());
    let t0 = clock::now();
    for number in 0..2 * MOST_SERIES {
        let name = format!("request {number}");
        ledger.stall(&future(Phase::Ended, &name, &name), t0, &mut written);
    }
    assert_eq!(ledger.series.len(), MOST_SERIES + 1);
    assert_eq!(written.stalls[&None], 2 * MOST_SERIES);
    // A worker has its own all the same.
    ledger.stall(&report(Phase::Ended, "last", 3, 1), t0, &mut written);
    assert_eq!(written.stalls[&Some(3)], 1);
}
