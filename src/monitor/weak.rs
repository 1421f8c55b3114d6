//! A handle that does not keep the monitor alive, for exporters.

use std::fmt;
use std::sync::{Arc, Weak};

use super::Monitor;
use super::shared::Shared;

#[derive(Clone)]
pub(crate) struct WeakMonitor(Weak<Shared>);

impl Monitor {
    pub(crate) fn downgrade(&self) -> WeakMonitor {
        WeakMonitor(Arc::downgrade(&self.shared))
    }
}

impl WeakMonitor {
    #[cfg(feature = "_export")]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Returns whether both are handles on the same monitor.
    #[cfg(feature = "_export")]
    pub(crate) fn is(&self, other: &WeakMonitor) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn upgrade(&self) -> Option<Monitor> {
        let shared = self.0.upgrade()?;
        Some(Monitor { shared })
    }
}

impl fmt::Debug for WeakMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakMonitor")
    }
}
