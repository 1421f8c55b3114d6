//! A binary heap that records where each of its entries is. It knows no percentiles.

use std::time::Duration;

/// A lag and its slot in the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) lag: Duration,
    pub(super) slot: usize,
}

/// The heap a lag is in, and its index there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Low(usize),
    High(usize),
}

/// The heap that has the longest lag on top.
pub(super) type Low = Heap<true>;

/// The heap that has the shortest lag on top.
pub(super) type High = Heap<false>;

/// A binary heap that records, by slot, the place of each entry that it moves.
#[derive(Debug, Default)]
pub(super) struct Heap<const IS_LOW: bool> {
    entries: Vec<Entry>,
}

impl<const IS_LOW: bool> Heap<IS_LOW> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn top(&self) -> Option<Entry> {
        self.entries.first().copied()
    }

    pub(super) fn push(&mut self, entry: Entry, places: &mut [Place]) {
        self.entries.push(entry);
        self.rise(self.entries.len() - 1, entry, places);
    }

    /// Replaces the entry at `index` by `entry`.
    pub(super) fn replace(&mut self, index: usize, entry: Entry, places: &mut [Place]) {
        let index = self.sink(index, entry, places);
        self.rise(index, entry, places);
    }

    /// Moves the hole at `index` up to where `entry` belongs, and fills it.
    fn rise(&mut self, mut index: usize, entry: Entry, places: &mut [Place]) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if !Self::above(entry.lag, self.entries[parent].lag) {
                break;
            }
            self.put(index, self.entries[parent], places);
            index = parent;
        }
        self.put(index, entry, places);
    }

    /// Moves the hole at `index` down to where `entry` may go, and returns that index.
    fn sink(&mut self, mut index: usize, entry: Entry, places: &mut [Place]) -> usize {
        while let Some(child) = self.upper_child(index) {
            if !Self::above(self.entries[child].lag, entry.lag) {
                break;
            }
            self.put(index, self.entries[child], places);
            index = child;
        }
        index
    }

    fn upper_child(&self, index: usize) -> Option<usize> {
        let left = 2 * index + 1;
        let right = left + 1;
        if right < self.entries.len()
            && Self::above(self.entries[right].lag, self.entries[left].lag)
        {
            Some(right)
        } else {
            (left < self.entries.len()).then_some(left)
        }
    }

    fn put(&mut self, index: usize, entry: Entry, places: &mut [Place]) {
        self.entries[index] = entry;
        places[entry.slot] = if IS_LOW {
            Place::Low(index)
        } else {
            Place::High(index)
        };
    }

    /// Returns whether `one` must be nearer to the top than `other`.
    fn above(one: Duration, other: Duration) -> bool {
        if IS_LOW { one > other } else { one < other }
    }
}
