//! The newest sample, readable without a lock.
//!
//! There are one writer, any number of readers, and two slots. The writer fills the slot that is not current,
//! then makes it current. A reader whose version is no longer current after it has read starts again. Only a
//! finished write can cause that, so no reader waits for a writer that was interrupted in the middle.

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
use std::time::Duration;

use chrono::DateTime;
use tokio::time::Instant;

use crate::sample::{Sample, Taken};

/// Returns the two ends of an empty cell. Times are stored as the time since `epoch`.
pub(super) fn latest(epoch: Instant) -> (Writer, Reader) {
    let cell = Arc::new(Cell::new());
    let writer = CellWriter {
        cell: Arc::clone(&cell),
        version: EMPTY,
    };
    (Writer { writer, epoch }, Reader { cell, epoch })
}

#[derive(Debug)]
pub(super) struct Writer {
    writer: CellWriter<7>,
    epoch: Instant,
}

impl Writer {
    pub(super) fn write(&mut self, sample: &Sample) {
        let taken = sample.taken.0.map_or(Duration::ZERO, |taken| {
            taken.saturating_duration_since(self.epoch)
        });
        self.writer.write([
            sample.lag.as_secs(),
            join(
                sample.lag.subsec_nanos(),
                sample.data_at.timestamp_subsec_nanos(),
            ),
            sample.data_at.timestamp() as u64,
            sample.tasks as u64,
            sample.queue_depth as u64,
            sample.busy.to_bits(),
            u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX),
        ]);
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    cell: Arc<Cell<7>>,
    epoch: Instant,
}

impl Reader {
    pub(super) fn read(&self) -> Option<Sample> {
        let [lag, nanos, stamp, tasks, queue_depth, busy, taken] = self.cell.read()?;
        let [lag_nanos, stamp_nanos] = split(nanos);
        Some(Sample {
            queue_depth: queue_depth as usize,
            busy: f64::from_bits(busy),
            taken: Taken(self.epoch.checked_add(Duration::from_nanos(taken))),
            ..Sample::new(
                Duration::new(lag, lag_nanos),
                tasks as usize,
                DateTime::from_timestamp(stamp as i64, stamp_nanos)?,
            )
        })
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

    fn read(&self) -> Option<[u64; N]> {
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
                return Some(words);
            }
            version = current;
        }
    }
}

/// The only writer of a cell.
#[derive(Debug)]
struct CellWriter<const N: usize> {
    cell: Arc<Cell<N>>,
    version: usize,
}

impl<const N: usize> CellWriter<N> {
    fn write(&mut self, words: [u64; N]) {
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

fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn split(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::clock;

    #[test]
    fn an_empty_cell_has_no_sample() {
        let (_writer, reader) = latest(clock::tokio_now());
        assert_eq!(reader.read(), None);
    }

    proptest! {
        #[test]
        fn reads_what_was_written_last(
            lag in any::<Duration>(),
            tasks in any::<usize>(),
            seconds in -8_000_000_000_i64..8_000_000_000,
            nanos in 0_u32..1_000_000_000,
            queue_depth in any::<usize>(),
            busy in 0.0..=1.0,
            taken in any::<u32>(),
        ) {
            let epoch = clock::tokio_now();
            let sample = Sample {
                queue_depth,
                busy,
                taken: Taken(Some(epoch + Duration::from_nanos(taken.into()))),
                ..Sample::new(lag, tasks, DateTime::from_timestamp(seconds, nanos).unwrap())
            };
            let (mut writer, reader) = latest(epoch);
            writer.write(&Sample::new(Duration::MAX, 7, DateTime::UNIX_EPOCH));
            writer.write(&sample);
            let read = reader.read().unwrap();
            assert_eq!(read, sample);
            assert_eq!(read.taken.0, sample.taken.0);
        }
    }
}

#[cfg(all(test, loopmon_loom))]
mod loom_tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_two_samples_mixed_nor_goes_back() {
        loom::model(|| {
            let cell = Arc::new(Cell::<2>::new());
            let mut writer = CellWriter {
                cell: Arc::clone(&cell),
                version: EMPTY,
            };
            let writing = loom::thread::spawn(move || {
                for value in 1..=3 {
                    writer.write([value; 2]);
                }
            });
            let mut seen = 0;
            for _ in 0..2 {
                if let Some([first, second]) = cell.read() {
                    assert_eq!(first, second);
                    assert!(first >= seen);
                    seen = first;
                }
            }
            writing.join().unwrap();
            assert_eq!(cell.read(), Some([3; 2]));
        });
    }
}
