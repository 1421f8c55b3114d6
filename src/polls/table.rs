//! A table that only grows, so its entries can be read without a lock. What they hold is up to others.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::Lock;

/// The number of entries in the first segment. Each further segment has twice as many.
const FIRST: usize = 64;

const SEGMENTS: usize = 24;

#[derive(Debug)]
pub(super) struct Table<T> {
    segments: [OnceLock<Box<[T]>>; SEGMENTS],
    /// The number of entries that were ever taken.
    taken: AtomicUsize,
    free: Lock<Vec<usize>>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table {
            segments: [const { OnceLock::new() }; SEGMENTS],
            taken: AtomicUsize::new(0),
            free: Lock::default(),
        }
    }

    /// Takes an entry that nobody uses. `new` makes an entry from its index. `None` if there are a billion.
    pub(super) fn take(&self, new: impl Fn(usize) -> T) -> Option<(usize, &T)> {
        let index = self
            .free
            .with(Vec::pop)
            .unwrap_or_else(|| self.taken.fetch_add(1, Ordering::Relaxed));
        let (segment, offset) = place(index);
        let first = index - offset;
        let all_new = || (first..first + (FIRST << segment)).map(new).collect();
        let entries = self.segments.get(segment)?.get_or_init(all_new);
        Some((index, entries.get(offset)?))
    }

    /// Gives an entry back.
    pub(super) fn give_back(&self, index: usize) {
        self.free.with(|free| free.push(index));
    }

    /// The entry, if it was taken. Takes no lock.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (segment, offset) = place(index);
        self.segments.get(segment)?.get()?.get(offset)
    }

    /// All entries that were ever taken. Takes no lock.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let taken = self.taken.load(Ordering::Relaxed);
        let segments = self.segments.iter().map_while(OnceLock::get);
        segments.flat_map(|entries| entries.iter()).take(taken)
    }
}

/// In which segment an entry is, and where there.
fn place(index: usize) -> (usize, usize) {
    let segment = (index / FIRST + 1).ilog2() as usize;
    (segment, index - FIRST * ((1 << segment) - 1))
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            assert_eq!(place(index), expected, "{index}");
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn entries_stay_and_are_used_again() {
        let table = Table::new();
        (0..200).for_each(|_| assert!(table.take(AtomicUsize::new).is_some()));
        let read = table.iter().map(|entry| entry.load(Ordering::Relaxed));
        assert!(read.eq(0..200));
        table.give_back(17);
        let (index, entry) = table.take(AtomicUsize::new).unwrap();
        assert_eq!((index, entry.load(Ordering::Relaxed)), (17, 17));
        assert!(std::ptr::eq(table.get(17).unwrap(), entry));
        assert!(table.get(1 << 40).is_none());
    }
}
