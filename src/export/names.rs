//! The names that monitors are exported under, and the index that distinguishes those of one name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind};
use crate::monitor::{Monitor, WeakMonitor};

/// The name of monitors that have none.
const UNNAMED: &str = "unnamed";

/// The names that are in use in one kind of exporter.
#[derive(Debug)]
pub(super) struct Names(Mutex<BTreeMap<Name, Holder>>);

/// The name that a monitor is exported under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) monitor: String,
    /// The number among the monitors of this name; 0 for the first.
    index: usize,
}

#[derive(Debug, Clone)]
struct Holder {
    monitor: WeakMonitor,
    /// Locked while an export uses the name. A monitor that is gone may have reports left to export
    /// when the next one takes its name.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A name in use. It is free once this is dropped or its monitor is gone.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) name: Name,
    holder: Holder,
    names: &'static Names,
}

impl Name {
    #[cfg(test)]
    pub(super) fn new(monitor: &str, index: usize) -> Name {
        let monitor = monitor.to_owned();
        Name { monitor, index }
    }

    /// Returns the index among the monitors of this name. `None` for the first: most are the only one.
    pub(super) fn index(&self) -> Option<usize> {
        (self.index > 0).then_some(self.index)
    }
}

impl Names {
    pub(super) const fn new() -> Names {
        Names(Mutex::new(BTreeMap::new()))
    }

    /// Takes the monitor's name with the smallest free index.
    pub(super) fn take(&'static self, monitor: &Monitor) -> Result<Lease, Error> {
        let mut name = Name {
            monitor: monitor.name().unwrap_or(UNNAMED).to_owned(),
            index: 0,
        };
        let monitor = monitor.downgrade();
        let mut names = self.lock();
        if names.values().any(|holder| holder.monitor.is(&monitor)) {
            return Err(Kind::AlreadyExported.into());
        }
        // Without an upgrade: the last handle must not be dropped under this lock.
        let is_live = |holder: &Holder| !holder.monitor.is_gone();
        while names.get(&name).is_some_and(is_live) {
            name.index += 1;
        }
        let former = names.get(&name).map(|former| Arc::clone(&former.turn));
        let turn = former.unwrap_or_default();
        let holder = Holder { monitor, turn };
        names.insert(name.clone(), holder.clone());
        Ok(Lease {
            name,
            holder,
            names: self,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Waits until the exports that had the name before are done.
    pub(super) async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.holder.turn).lock_owned().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        let holder = names.get(&self.name);
        // Another monitor may have the name by now.
        if holder.is_some_and(|holder| holder.monitor.is(&self.holder.monitor)) {
            names.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor() -> Monitor {
        Monitor::builder().name("web").build().unwrap()
    }

    #[test]
    fn monitors_of_one_name_are_numbered_from_the_second_on() {
        static NAMES: Names = Names::new();
        let monitors: [_; 3] = std::array::from_fn(|_| monitor());
        let leases = monitors.each_ref().map(|each| NAMES.take(each).unwrap());
        let names = leases.each_ref().map(|lease| lease.name.clone());
        assert_eq!(names, [0, 1, 2].map(|index| Name::new("web", index)));
        let indexes = names.each_ref().map(Name::index);
        assert_eq!(indexes, [None, Some(1), Some(2)]);
        let other = Monitor::builder().build().unwrap();
        assert_eq!(NAMES.take(&other).unwrap().name, Name::new(UNNAMED, 0));
    }

    #[test]
    fn a_monitor_has_one_name_at_a_time() {
        static NAMES: Names = Names::new();
        let (first, second) = (monitor(), monitor());
        let _kept = NAMES.take(&first).unwrap();
        let lease = NAMES.take(&second).unwrap();
        assert!(NAMES.take(&second).unwrap_err().is_already_exported());
        drop(lease);
        assert_eq!(NAMES.take(&second).unwrap().name, Name::new("web", 1));
    }

    #[test]
    fn the_smallest_index_that_is_free_is_the_next() {
        static NAMES: Names = Names::new();
        let (first, second) = (monitor(), monitor());
        let former = NAMES.take(&first).unwrap();
        let _second = NAMES.take(&second).unwrap();
        // Not all its reports are exported yet.
        drop(first);
        let first = monitor();
        let lease = NAMES.take(&first).unwrap();
        assert_eq!(lease.name, Name::new("web", 0));
        drop(former);
        assert_eq!(NAMES.take(&monitor()).unwrap().name, Name::new("web", 2));
    }

    #[test]
    fn who_comes_next_waits_for_who_had_the_name_before() {
        use futures::FutureExt;

        static NAMES: Names = Names::new();
        let first = monitor();
        let former = NAMES.take(&first).unwrap();
        let writes = former.turn().now_or_never();
        assert!(writes.is_some());
        drop(first);
        let second = monitor();
        let lease = NAMES.take(&second).unwrap();
        assert!(lease.turn().now_or_never().is_none());
        drop((former, writes));
        assert!(lease.turn().now_or_never().is_some());
    }
}
