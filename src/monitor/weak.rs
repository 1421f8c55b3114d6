//! A handle that does not keep the monitor.

use std::sync::{Arc, Weak};

use super::{Monitor, Shared};

pub(crate) struct WeakMonitor(Weak<Shared>);

impl Monitor {
    pub(crate) fn downgrade(&self) -> WeakMonitor {
        WeakMonitor(Arc::downgrade(&self.shared))
    }
}

impl WeakMonitor {
    pub(crate) fn upgrade(&self) -> Option<Monitor> {
        let shared = self.0.upgrade()?;
        Some(Monitor { shared })
    }
}
