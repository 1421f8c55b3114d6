//! Since when a monitor is attached, readable without a lock.

use std::time::Duration;

use tokio::time::Instant;

use super::cell::{CellReader, CellWriter, cell};

/// The word while the monitor is not attached.
const DETACHED: u64 = 0;

/// Returns the two ends of a cell that says that the monitor is not attached. Times are stored as the time
/// since `epoch`.
pub(super) fn since(epoch: Instant) -> (Writer, Reader) {
    let (writer, cell) = cell();
    (Writer { writer, epoch }, Reader { cell, epoch })
}

/// The beginning of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) at: Instant,
    /// The number of the newest sample then, which is not of this run.
    pub(super) sample: usize,
}

#[derive(Debug)]
pub(super) struct Writer {
    writer: CellWriter<2>,
    epoch: Instant,
}

#[derive(Debug)]
pub(super) struct Reader {
    cell: CellReader<2>,
    epoch: Instant,
}

impl Writer {
    /// Writes when the run began; `None` if there is none.
    pub(super) fn write(&mut self, since: Option<Since>) {
        self.writer.write(since.map_or([DETACHED; 2], |since| {
            let at = since.at.saturating_duration_since(self.epoch).as_nanos();
            let at = u64::try_from(at).unwrap_or(u64::MAX);
            [at.saturating_add(1), since.sample as u64]
        }));
    }
}

impl Reader {
    /// Returns the beginning of the current run, if there is one, and a number that no other run has.
    pub(super) fn read(&self) -> Option<(usize, Since)> {
        let (number, [at, sample]) = self.cell.read_with_version()?;
        let at = Duration::from_nanos(at.checked_sub(DETACHED + 1)?);
        let since = Since {
            at: self.epoch.checked_add(at)?,
            sample: sample as usize,
        };
        Some((number, since))
    }

    /// Returns a number that changes with each attachment and detachment.
    #[cfg(feature = "tower")]
    pub(super) fn version(&self) -> usize {
        self.cell.version()
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn reads_when_the_run_began_while_there_is_one() {
        let epoch = clock::tokio_now();
        let (mut writer, reader) = since(epoch);
        assert_eq!(reader.read(), None);
        for (at, sample) in [(epoch, 0), (epoch + Duration::from_nanos(1_234_567), 7)] {
            let since = Since { at, sample };
            writer.write(Some(since));
            assert_eq!(reader.read().unwrap().1, since);
            writer.write(None);
            assert_eq!(reader.read(), None);
        }
    }
}
