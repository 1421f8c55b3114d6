//! A binary heap that records where each of its entries is. It knows no percentiles.

use std::marker::PhantomData;
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

/// The order of a heap.
pub(super) trait Side {
    /// Returns whether `one` must be nearer to the top than `other`.
    fn above(one: Duration, other: Duration) -> bool;
    fn place(index: usize) -> Place;
}

/// The longest lag on top.
#[derive(Debug)]
pub(super) struct Low;

impl Side for Low {
    fn above(one: Duration, other: Duration) -> bool {
        one > other
    }

    fn place(index: usize) -> Place {
        Place::Low(index)
    }
}

/// The shortest lag on top.
#[derive(Debug)]
pub(super) struct High;

impl Side for High {
    fn above(one: Duration, other: Duration) -> bool {
        one < other
    }

    fn place(index: usize) -> Place {
        Place::High(index)
    }
}

/// A binary heap that records, by slot, the place of each entry that it moves.
#[derive(Debug)]
pub(super) struct Heap<S> {
    entries: Vec<Entry>,
    side: PhantomData<S>,
}

impl<S> Default for Heap<S> {
    fn default() -> Heap<S> {
        Heap {
            entries: Vec::new(),
            side: PhantomData,
        }
    }
}

impl<S: Side> Heap<S> {
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
            if !S::above(entry.lag, self.entries[parent].lag) {
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
            if !S::above(self.entries[child].lag, entry.lag) {
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
        if right < self.entries.len() && S::above(self.entries[right].lag, self.entries[left].lag) {
            Some(right)
        } else {
            (left < self.entries.len()).then_some(left)
        }
    }

    fn put(&mut self, index: usize, entry: Entry, places: &mut [Place]) {
        self.entries[index] = entry;
        places[entry.slot] = S::place(index);
    }
}
