//! A thread as the operating system and the program know it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::stack::{self, Target};

/// A thread: its id in the operating system, and its name.
#[non_exhaustive]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OsThread {
    /// The id that `top -H`, `gdb` and `/proc/self/task` show. `None` where the system has no
    /// `/proc`, which is where it is read.
    pub id: Option<u32>,
    /// The name it was given in the program.
    pub name: Option<Arc<str>>,
    /// Tells the threads of this process apart, also where they have no `id`. Zero for what was not made
    /// in the thread itself.
    #[cfg_attr(feature = "serde", serde(skip))]
    number: u32,
    /// The number by which a signal reaches it, where one may be sent.
    #[cfg_attr(feature = "serde", serde(skip))]
    own_id: Option<u32>,
}

impl OsThread {
    /// What a stall may tell of its thread: for tests of your own.
    #[must_use]
    pub const fn new(id: Option<u32>, name: Option<Arc<str>>) -> OsThread {
        OsThread {
            id,
            name,
            number: 0,
            own_id: None,
        }
    }

    /// The calling thread.
    pub(crate) fn current() -> OsThread {
        thread_local! {
            /// With the process it is of: in the child of a fork it is another thread.
            static CURRENT: RefCell<(u32, OsThread)> =
                RefCell::new((std::process::id(), OsThread::of_caller()));
        }
        let process = std::process::id();
        let current = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            if current.0 != process {
                *current = (process, OsThread::of_caller());
            }
            current.1.clone()
        });
        // Fails only while the thread ends.
        current.unwrap_or_else(|_| OsThread::of_caller())
    }

    fn of_caller() -> OsThread {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let thread = thread::current();
        OsThread {
            id: current_id(),
            name: thread.name().map(Arc::from),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed).max(1),
            own_id: stack::own_id(),
        }
    }

    /// Tells the threads of this process apart. Zero for what was not made in the thread itself.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// A thread that has not been met, by its id in `/proc`, of the same pid namespace as one that has.
    pub(crate) fn of_id(id: u32, name: Option<Arc<str>>, like: &OsThread) -> OsThread {
        OsThread {
            id: Some(id),
            name,
            number: 0,
            own_id: like.own_id.filter(|own| Some(*own) == like.id).map(|_| id),
        }
    }

    /// `None` where no stacks are taken.
    pub(crate) fn target(&self) -> Option<Target> {
        Some(Target {
            proc_id: self.id?,
            id: self.own_id?,
        })
    }
}

/// `/proc/thread-self` is a link to `<process>/task/<thread>`: the id without a system call of our
/// own, which would need unsafe code.
fn current_id() -> Option<u32> {
    let path = std::fs::read_link("/proc/thread-self").ok()?;
    path.file_name()?.to_str()?.parse().ok()
}

/// By what is to be seen of them: `id` and `name`.
impl PartialEq for OsThread {
    fn eq(&self, other: &OsThread) -> bool {
        (self.id, &self.name) == (other.id, &other.name)
    }
}

impl Eq for OsThread {}

/// The name and the id in parentheses, or what there is of them.
impl fmt::Display for OsThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.id) {
            (Some(name), Some(id)) => write!(f, "{name} ({id})"),
            (Some(name), None) => f.write_str(name),
            (None, Some(id)) => write!(f, "({id})"),
            (None, None) => f.write_str("(unknown)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_calling_thread() {
        let named = thread::Builder::new().name("a-thread-of-its-own".to_owned());
        let other = named.spawn(OsThread::current).unwrap().join().unwrap();
        assert_eq!(other.name.as_deref(), Some("a-thread-of-its-own"));
        assert_eq!(OsThread::current().number(), OsThread::current().number());
        assert_ne!(other.number(), OsThread::current().number());
        let seen = OsThread::new(other.id, other.name.clone());
        assert_eq!(seen, other);
        assert_ne!(seen.number(), other.number());
        if cfg!(target_os = "linux") {
            assert_ne!(other.id, OsThread::current().id);
            assert!(other.id.is_some());
        }
    }
}
