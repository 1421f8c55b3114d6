//! The newest sample, readable without a lock.

use std::time::Duration;

use chrono::DateTime;
use tokio::time::Instant;

use super::cell::{CellReader, CellWriter, cell, join, split};
use crate::sample::{Sample, Taken};

/// Returns the two ends of an empty cell. Times are stored as the time since `epoch`.
pub(super) fn latest(epoch: Instant) -> (Writer, Reader) {
    let (writer, cell) = cell();
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
    cell: CellReader<7>,
    epoch: Instant,
}

impl Reader {
    pub(super) fn read(&self) -> Option<Sample> {
        self.read_numbered().map(|(_, sample)| sample)
    }

    /// Returns the sample, and a number that differs from that of the sample before.
    pub(super) fn read_numbered(&self) -> Option<(usize, Sample)> {
        let (number, words) = self.cell.read_with_version()?;
        let [lag, nanos, stamp, tasks, queue_depth, busy, taken] = words;
        let [lag_nanos, stamp_nanos] = split(nanos);
        let sample = Sample {
            queue_depth: queue_depth as usize,
            busy: f64::from_bits(busy),
            taken: Taken(self.epoch.checked_add(Duration::from_nanos(taken))),
            ..Sample::new(
                Duration::new(lag, lag_nanos),
                tasks as usize,
                DateTime::from_timestamp(stamp as i64, stamp_nanos)?,
            )
        };
        Some((number, sample))
    }

    /// Returns a number that changes with each sample.
    pub(super) fn version(&self) -> usize {
        self.cell.version()
    }
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
