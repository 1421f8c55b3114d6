//! Which monitors an exporter has.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind};

/// The names that one exporter has taken.
#[derive(Debug)]
pub(super) struct Names(Mutex<Option<HashSet<String>>>);

/// One of them, free again once this is dropped.
#[derive(Debug)]
pub(super) struct Name {
    name: String,
    taken: &'static Names,
}

impl Names {
    pub(super) const fn new() -> Names {
        Names(Mutex::new(None))
    }

    pub(super) fn take(&'static self, name: &str) -> Result<Name, Error> {
        if !self.lock().get_or_insert_default().insert(name.to_owned()) {
            return Err(Kind::AlreadyExported.into());
        }
        Ok(Name {
            name: name.to_owned(),
            taken: self,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashSet<String>>> {
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
            names.remove(&self.name);
        }
    }
}
