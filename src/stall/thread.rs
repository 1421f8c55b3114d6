//! The identity of a thread, for the operating system and for the program. What the thread does is
//! `procfs`'s concern.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::stack::{self, Target};

/// A thread's id in the operating system, and its name.
#[non_exhaustive]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OsThread {
    /// The id that `top -H`, `gdb` and `/proc/self/task` show. It is read from `/proc`: `None` on
    /// systems without one.
    pub id: Option<u32>,
    /// The name that the program gave to the thread.
    pub name: Option<Arc<str>>,
    /// Distinguishes the threads of this process, even without an `id`. Zero if this value was not
    /// created in the thread itself.
    #[cfg_attr(feature = "serde", serde(skip))]
    number: u32,
    /// The id to which a signal is sent, where one may be sent.
    #[cfg_attr(feature = "serde", serde(skip))]
    own_id: Option<u32>,
}

impl OsThread {
    /// Creates a thread as a stall shows it, for your own tests.
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
            /// The thread, and its process: in the child of a fork it is another thread.
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
        // `try_with` fails only while the thread ends.
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

    /// Distinguishes the threads of this process. Zero if this value was not created in the thread
    /// itself.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Creates a thread from its id in `/proc`. `like` is a known thread of the same pid namespace.
    pub(crate) fn of_id(id: u32, name: Option<Arc<str>>, like: &OsThread) -> OsThread {
        OsThread {
            id: Some(id),
            name,
            number: 0,
            own_id: like.own_id.filter(|own| Some(*own) == like.id).map(|_| id),
        }
    }

    /// Returns `None` where no stacks are captured.
    pub(crate) fn target(&self) -> Option<Target> {
        Some(Target {
            proc_id: self.id?,
            id: self.own_id?,
        })
    }
}

/// Reads the id from the link `/proc/thread-self`, which points to `<process>/task/<thread>`: the
/// system call for it would need unsafe code.
fn current_id() -> Option<u32> {
    let path = std::fs::read_link("/proc/thread-self").ok()?;
    path.file_name()?.to_str()?.parse().ok()
}

/// Compares what users see: `id` and `name`.
impl PartialEq for OsThread {
    fn eq(&self, other: &OsThread) -> bool {
        (self.id, &self.name) == (other.id, &other.name)
    }
}

impl Eq for OsThread {}

/// Prints the name and, in parentheses, the id, as far as they are known.
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
