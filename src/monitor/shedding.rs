//! What `shed` asks of a monitor beside its pulse, and what `export` tells of it.

use std::sync::Arc;
#[cfg(feature = "tower")]
use std::sync::atomic::Ordering;

use super::Monitor;
use crate::admissions::Admissions;

impl Monitor {
    /// Returns a number that changes with each sample, each attachment and each detachment.
    #[cfg(feature = "tower")]
    pub(crate) fn news(&self) -> usize {
        let samples = self.shared.latest.version();
        samples.wrapping_add(self.shared.since.version())
    }

    /// Returns whether a stall is reported and not over.
    #[cfg(feature = "tower")]
    pub(crate) fn has_open_stalls(&self) -> bool {
        self.shared.open_stalls.load(Ordering::Relaxed) > 0
    }

    /// Returns where all policies of this monitor count.
    pub(crate) fn admissions(&self) -> &Arc<Admissions> {
        &self.shared.admissions
    }
}
