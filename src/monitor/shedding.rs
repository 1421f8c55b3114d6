//! What `shed` asks of a monitor beside its pulse.

use std::sync::Arc;

use super::Monitor;
use crate::admissions::Admissions;
use crate::clock;

impl Monitor {
    /// Returns a number that changes with each sample, each attachment and each detachment.
    pub(crate) fn news(&self) -> usize {
        let samples = self.shared.latest.version();
        samples.wrapping_add(self.shared.since.version())
    }

    /// Returns where all policies of this monitor count.
    pub(crate) fn admissions(&self) -> Arc<Admissions> {
        let new = || Arc::new(Admissions::new(clock::tokio_now()));
        Arc::clone(self.shared.admissions.get_or_init(new))
    }

    /// Returns the counts, if there was ever a policy.
    #[cfg(feature = "_export")]
    pub(crate) fn existing_admissions(&self) -> Option<&Admissions> {
        self.shared.admissions.get().map(|admissions| &**admissions)
    }
}
