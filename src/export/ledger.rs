//! Counts stalls and measures those that are open, for exporters of metrics. What a count is written
//! to is each exporter's own.

mod open_stalls;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use open_stalls::OpenStalls;

use crate::stall::{Cause, Place, Stall};

/// With so many series, futures with further names share one.
const MOST_SERIES: usize = 512;

/// The name of the series that they share.
const OTHER: &str = "other";

/// The stalls of one monitor.
#[derive(Debug)]
pub(super) struct StallLedger<S> {
    /// Whether each place has its own series. If not, `series` has one for all, under `None`.
    per_place: bool,
    /// The series of the places that have been stalled.
    pub(super) series: HashMap<Option<Place>, S>,
    open: OpenStalls,
}

/// Where a ledger writes.
pub(super) trait StallSink {
    /// What identifies the metrics of one place, or of all places.
    type Series;

    /// Creates the series of `place`, or of all places, with its metrics at 0.
    fn create(&mut self, place: Option<&Place>) -> Self::Series;

    /// Counts a new stall.
    fn count(&mut self, series: &Self::Series, cause: Cause);

    /// Adds to the total of stalled time.
    fn add_time(&mut self, series: &mut Self::Series, stalled: Duration);

    /// Sets how long the longest open stall of the series has lasted; zero if none is open.
    fn set_longest(&mut self, series: &Self::Series, lasted: Duration);

    /// Sets how many stalls are open in all.
    fn set_open(&mut self, count: usize);
}

impl<S> StallLedger<S> {
    /// `all` is the series that all places share; if there is none, each place gets its own.
    pub(super) fn new(all: Option<S>) -> StallLedger<S> {
        StallLedger {
            per_place: all.is_none(),
            series: all.map(|all| (None, all)).into_iter().collect(),
            open: OpenStalls::default(),
        }
    }

    /// Whether `tick` has to be called as time passes.
    pub(super) fn wants_tick(&self) -> bool {
        !self.open.is_empty()
    }

    /// Applies a report.
    pub(super) fn stall(
        &mut self,
        stall: &Stall,
        now: Instant,
        sink: &mut impl StallSink<Series = S>,
    ) {
        let place = self.series_of(&stall.place);
        // First, as a sink may panic.
        let change = self.open.update(stall, place.clone(), now);
        let series = self.series.entry(place);
        let series = series.or_insert_with_key(|place| sink.create(place.as_ref()));
        if change.is_new {
            sink.count(series, stall.cause);
        }
        sink.add_time(series, change.grown);
        self.tick(now, sink);
    }

    /// The key in `series`. A program may have any number of futures, but not of series.
    fn series_of(&self, place: &Place) -> Option<Place> {
        if !self.per_place {
            return None;
        }
        let place = Some(place.clone());
        let is_future = matches!(place, Some(Place::Future(_)));
        if is_future && self.series.len() >= MOST_SERIES && !self.series.contains_key(&place) {
            return Some(Place::Future(OTHER.into()));
        }
        place
    }

    /// Writes what has changed as time passed.
    pub(super) fn tick(&mut self, now: Instant, sink: &mut impl StallSink<Series = S>) {
        for stall in self.open.iter_mut() {
            if let Some(series) = self.series.get_mut(&stall.series) {
                sink.add_time(series, stall.grow(now));
            }
        }
        sink.set_open(self.open.iter().count());
        for (place, series) in &self.series {
            sink.set_longest(series, self.open.longest(place, now));
        }
    }

    /// Forgets the open stalls, and returns them. The next `tick` writes that none is open.
    pub(super) fn take_open(&mut self) -> OpenStalls {
        std::mem::take(&mut self.open)
    }
}
