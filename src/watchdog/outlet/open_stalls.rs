//! How many of the stalls that were reported are not over. Whoever sheds load wants to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stall::{Phase, Stall, StallId};
use crate::sync::Lock;

/// There is room for so many before the program's allocator is needed, in which a thread may be stuck.
const ROOM: usize = 64;

/// The open stalls of one channel. When this is dropped, nothing is known of them any more, and they do not count.
#[derive(Debug)]
pub(super) struct OpenStalls {
    ids: Lock<Vec<StallId>>,
    /// The number of them, and of those of the monitor's other channels.
    count: Arc<AtomicUsize>,
}

impl OpenStalls {
    pub(super) fn new(count: Arc<AtomicUsize>) -> OpenStalls {
        OpenStalls {
            ids: Lock::new(Vec::with_capacity(ROOM)),
            count,
        }
    }

    pub(super) fn update(&self, report: &Stall) {
        let is_open = report.phase != Phase::Ended;
        self.ids.with(|ids| {
            let known = ids.iter().position(|id| *id == report.id);
            match known {
                None if is_open => {
                    ids.push(report.id);
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
                Some(at) if !is_open => {
                    ids.swap_remove(at);
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
                _ => {}
            }
        });
    }
}

impl Drop for OpenStalls {
    fn drop(&mut self) {
        let open = self.ids.with(|ids| ids.len());
        self.count.fetch_sub(open, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_from_its_first_report_to_its_last() {
        let count = Arc::new(AtomicUsize::new(0));
        let open = OpenStalls::new(Arc::clone(&count));
        let [a, b, c, d] = [(); 4].map(|()| StallId::next());
        for (id, phase, expected) in [
            (a, Phase::Started, 1),
            (a, Phase::Ongoing, 1),
            // The first report may be missed, or be the only one.
            (b, Phase::Ongoing, 2),
            (c, Phase::Ended, 2),
            (a, Phase::Ended, 1),
            (a, Phase::Ended, 1),
            (d, Phase::Started, 2),
        ] {
            open.update(&Stall {
                id,
                ..Stall::of(0, phase)
            });
            assert_eq!(count.load(Ordering::Relaxed), expected, "{id} {phase:?}");
        }
        drop(open);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
