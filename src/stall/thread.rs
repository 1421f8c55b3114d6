//! A thread as the operating system and the program know it.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, ThreadId};

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
    /// Tells threads apart where they have no `id`. `None` for what was not made in the thread itself.
    #[cfg_attr(feature = "serde", serde(skip))]
    key: Option<ThreadId>,
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
            key: None,
            own_id: None,
        }
    }

    /// Whether both are the same thread of this process, whatever they are called.
    pub(crate) fn is(&self, other: &OsThread) -> bool {
        self.key.is_some() && self.key == other.key
    }

    /// The calling thread.
    pub(crate) fn current() -> OsThread {
        thread_local! {
            static CURRENT: OsThread = OsThread::of_caller();
        }
        // Fails only while the thread ends.
        CURRENT
            .try_with(OsThread::clone)
            .unwrap_or_else(|_| OsThread::of_caller())
    }

    fn of_caller() -> OsThread {
        let thread = thread::current();
        OsThread {
            id: current_id(),
            name: thread.name().map(Arc::from),
            key: Some(thread.id()),
            own_id: stack::own_id(),
        }
    }

    /// `None` where no stacks are taken.
    pub(crate) fn target(&self) -> Option<Target> {
        Some(Target {
            shown: self.id?,
            own: self.own_id?,
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
        assert!(OsThread::current().is(&OsThread::current()));
        assert!(!other.is(&OsThread::current()));
        let seen = OsThread::new(other.id, other.name.clone());
        assert_eq!(seen, other);
        assert!(!seen.is(&other));
        if cfg!(target_os = "linux") {
            assert_ne!(other.id, OsThread::current().id);
            assert!(other.id.is_some());
        }
    }
}
