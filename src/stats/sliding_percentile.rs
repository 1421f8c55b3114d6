//! A percentile of the newest lags.

mod heap;

use std::num::NonZeroUsize;
use std::time::Duration;

use super::Percentile;
use heap::{Entry, Heap, High, Low, Place};

/// A percentile of up to `window` lags, by nearest rank, in logarithmic time for each.
///
/// Two heaps share the window: `low` has as many of the shortest lags as the rank says, the longest
/// of them on top, which is the answer; `high` has the others, the shortest on top. A full window
/// is a ring of slots. A new lag takes the slot of the oldest and its place in its heap; if the
/// tops are in the wrong order after that, they change places.
///
/// Storage grows with the window and is then kept, so a full window allocates nothing.
#[derive(Debug)]
pub(crate) struct SlidingPercentile {
    window: NonZeroUsize,
    percentile: Percentile,
    low: Heap<Low>,
    high: Heap<High>,
    /// Where the lag of each slot is.
    places: Vec<Place>,
    /// The slot of the oldest lag, once the window is full.
    oldest: usize,
}

impl SlidingPercentile {
    pub(crate) fn new(window: NonZeroUsize, percentile: Percentile) -> SlidingPercentile {
        SlidingPercentile {
            window,
            percentile,
            low: Heap::default(),
            high: Heap::default(),
            places: Vec::new(),
            oldest: 0,
        }
    }

    /// The percentile with `lag`.
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
        // One lag more raises the rank by one or not at all.
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

    /// After one lag has changed, at most the two tops are in the wrong heap.
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
