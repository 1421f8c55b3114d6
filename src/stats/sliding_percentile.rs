//! A percentile of the newest lags. It knows no time, only a number of lags.

mod heap;

use std::num::NonZeroUsize;
use std::time::Duration;

use super::Percentile;
use heap::{Entry, High, Low, Place};

/// A percentile of the last `window` lags, by nearest rank, in logarithmic time per lag.
///
/// Two heaps share the window. `low` has the shortest lags, as many as the rank; its top is the longest of
/// them, which is the percentile. `high` has the other lags; its top is the shortest. A full window is a
/// ring of slots. A new lag replaces the oldest in its slot and in its heap. If the two tops are then in
/// the wrong order, they swap.
///
/// Storage grows with the window and stays, so a full window allocates nothing.
#[derive(Debug)]
pub(crate) struct SlidingPercentile {
    window: NonZeroUsize,
    percentile: Percentile,
    low: Low,
    high: High,
    /// Locates the lag of each slot in the heaps.
    places: Vec<Place>,
    /// Names the slot of the oldest lag, once the window is full.
    oldest: usize,
}

impl SlidingPercentile {
    pub(crate) fn new(window: NonZeroUsize, percentile: Percentile) -> SlidingPercentile {
        SlidingPercentile {
            window,
            percentile,
            low: Low::default(),
            high: High::default(),
            places: Vec::new(),
            oldest: 0,
        }
    }

    /// Adds `lag` and returns the percentile.
    pub(crate) fn push(&mut self, lag: Duration) -> Duration {
        if self.places.len() < self.window.get() {
            self.add(lag);
        } else {
            self.replace_oldest(lag);
        }
        self.order_tops();
        self.low.top().map_or(lag, |top| top.lag)
    }

    fn add(&mut self, lag: Duration) {
        let slot = self.places.len();
        let entry = Entry { lag, slot };
        // One more lag raises the rank by one or not at all.
        if self.low.len() < self.percentile.rank(slot + 1) {
            self.places.push(Place::Low(self.low.len()));
            self.low.push(entry, &mut self.places);
        } else {
            self.places.push(Place::High(self.high.len()));
            self.high.push(entry, &mut self.places);
        }
    }

    fn replace_oldest(&mut self, lag: Duration) {
        let slot = self.oldest;
        self.oldest = (slot + 1) % self.window.get();
        let entry = Entry { lag, slot };
        match self.places[slot] {
            Place::Low(index) => self.low.replace(index, entry, &mut self.places),
            Place::High(index) => self.high.replace(index, entry, &mut self.places),
        }
    }

    /// Swaps the two tops if they are in the wrong order. After one change no other lag can be.
    fn order_tops(&mut self) {
        let (Some(low), Some(high)) = (self.low.top(), self.high.top()) else {
            return;
        };
        if low.lag > high.lag {
            self.low.replace(0, high, &mut self.places);
            self.high.replace(0, low, &mut self.places);
        }
    }
}
