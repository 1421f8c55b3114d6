//! Words that one writer writes and any number of readers read without a lock. What they mean is up to others.
//!
//! There are two slots. The writer fills the slot that is not current, then makes it current. A reader whose
//! version is no longer current after it has read starts again. Only a finished write can cause that, so no
//! reader waits for a writer that was interrupted in the middle.

#[cfg(loopmon_loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};
#[cfg(not(loopmon_loom))]
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

/// Returns the two ends of an empty cell.
pub(super) fn cell<const N: usize>() -> (CellWriter<N>, CellReader<N>) {
    let cell = Arc::new(Cell::new());
    let writer = CellWriter {
        cell: Arc::clone(&cell),
        version: EMPTY,
    };
    (writer, CellReader(cell))
}

#[derive(Debug)]
pub(super) struct CellReader<const N: usize>(Arc<Cell<N>>);

impl<const N: usize> CellReader<N> {
    /// Returns what was written last, and the [version](Self::version) that it made. `None` if nothing was.
    pub(super) fn read_with_version(&self) -> Option<(usize, [u64; N])> {
        self.0.read()
    }

    /// Returns a number that changes with each write.
    pub(super) fn version(&self) -> usize {
        self.0.version.load(Ordering::Acquire)
    }
}

/// The version of a cell that was never written.
const EMPTY: usize = 0;

/// Two slots of `N` words. Each word is two halves, as not every target has 64-bit atomics.
#[derive(Debug)]
struct Cell<const N: usize> {
    version: AtomicUsize,
    slots: [[[AtomicU32; 2]; N]; 2],
}

impl<const N: usize> Cell<N> {
    fn new() -> Cell<N> {
        let word = |_| [AtomicU32::new(0), AtomicU32::new(0)];
        Cell {
            version: AtomicUsize::new(EMPTY),
            slots: [(); 2].map(|()| std::array::from_fn(word)),
        }
    }

    fn read(&self) -> Option<(usize, [u64; N])> {
        let mut version = self.version.load(Ordering::Acquire);
        loop {
            if version == EMPTY {
                return None;
            }
            // Acquire: a word of a later write to this slot makes visible the version that the writer made
            // current before it came back to this slot.
            let words = self.slots[version % 2].each_ref().map(|word| {
                join(
                    word[0].load(Ordering::Acquire),
                    word[1].load(Ordering::Acquire),
                )
            });
            let current = self.version.load(Ordering::Acquire);
            if current == version {
                return Some((version, words));
            }
            version = current;
        }
    }
}

/// The only writer of a cell.
#[derive(Debug)]
pub(super) struct CellWriter<const N: usize> {
    cell: Arc<Cell<N>>,
    version: usize,
}

impl<const N: usize> CellWriter<N> {
    pub(super) fn write(&mut self, words: [u64; N]) {
        // The largest version is odd, so the slots keep alternating. `EMPTY` is left out.
        self.version = self.version.checked_add(1).unwrap_or(2);
        for (slot, word) in self.cell.slots[self.version % 2].iter().zip(words) {
            let halves = split(word);
            slot[0].store(halves[0], Ordering::Release);
            slot[1].store(halves[1], Ordering::Release);
        }
        self.cell.version.store(self.version, Ordering::Release);
    }
}

pub(super) fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

pub(super) fn split(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_two_samples_mixed_nor_goes_back() {
        loom::model(|| {
            let (mut writer, cell) = cell::<2>();
            let writing = loom::thread::spawn(move || {
                for value in 1..=3 {
                    writer.write([value; 2]);
                }
            });
            let mut seen = 0;
            for _ in 0..2 {
                if let Some((_, [first, second])) = cell.read_with_version() {
                    assert_eq!(first, second);
                    assert!(first >= seen);
                    seen = first;
                }
            }
            writing.join().unwrap();
            assert_eq!(cell.read_with_version(), Some((3, [3; 2])));
        });
    }
}
