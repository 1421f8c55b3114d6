//! Which monitors an exporter has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind};
use crate::monitor::{Monitor, WeakMonitor};

/// What monitors without a name are exported as.
const UNNAMED: &str = "unnamed";

/// The names that one exporter has taken, each with the number of its taking.
#[derive(Debug)]
pub(super) struct Names(Mutex<Option<HashMap<String, (u64, WeakMonitor)>>>);

/// One of them, free again once this is dropped or its monitor is gone.
#[derive(Debug)]
pub(super) struct Name {
    name: String,
    number: u64,
    taken: &'static Names,
}

impl Names {
    pub(super) const fn new() -> Names {
        Names(Mutex::new(None))
    }

    pub(super) fn take(&'static self, monitor: &Monitor) -> Result<Name, Error> {
        static TAKINGS: AtomicU64 = AtomicU64::new(0);
        let name = monitor.name().unwrap_or(UNNAMED).to_owned();
        let mut names = self.lock();
        let names = names.get_or_insert_default();
        // Not upgraded: the last handle must not be dropped under this lock.
        if names.get(&name).is_some_and(|(_, other)| !other.is_gone()) {
            return Err(Kind::AlreadyExported.into());
        }
        let number = TAKINGS.fetch_add(1, Ordering::Relaxed);
        names.insert(name.clone(), (number, monitor.downgrade()));
        Ok(Name {
            name,
            number,
            taken: self,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<String, (u64, WeakMonitor)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(names) = &mut *self.taken.lock() {
            // Another monitor may have it by now.
            if names
                .get(&self.name)
                .is_some_and(|(number, _)| *number == self.number)
            {
                names.remove(&self.name);
            }
        }
    }
}
