//! Statics that a forked process does not inherit. What they hold is up to others.
//!
//! The child of a fork has the parent's memory and one thread. What a static knows of other threads is
//! wrong there, and a lock that one of them held stays locked for ever. So each process has a value of
//! its own, found by the process id. Only the first use takes a lock. A child with the same id as its
//! parent, as the first process of a new pid namespace may have, shares the parent's value.

use std::sync::OnceLock;

/// A static with one value for each process.
#[derive(Debug)]
pub(crate) struct PerProcess<T: 'static> {
    first: OnceLock<Generation<T>>,
    new: fn() -> T,
}

#[derive(Debug)]
struct Generation<T> {
    process: u32,
    value: T,
    /// The value of a process that was forked from this one, directly or not.
    next: OnceLock<Box<Generation<T>>>,
}

impl<T> PerProcess<T> {
    /// `new` makes the value at the first use in each process.
    pub(crate) const fn new(new: fn() -> T) -> PerProcess<T> {
        PerProcess {
            first: OnceLock::new(),
            new,
        }
    }

    /// The value of the present process.
    pub(crate) fn get(&self) -> &T {
        self.of(std::process::id())
    }

    fn of(&self, process: u32) -> &T {
        let new = || Generation {
            process,
            value: (self.new)(),
            next: OnceLock::new(),
        };
        let mut generation = self.first.get_or_init(new);
        while generation.process != process {
            generation = generation.next.get_or_init(|| Box::new(new()));
        }
        &generation.value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn each_process_has_its_own() {
        let counter = PerProcess::new(|| AtomicU32::new(0));
        for (process, expected) in [(7, 0), (7, 1), (8, 0), (9, 0), (8, 1), (7, 2)] {
            let count = counter.of(process).fetch_add(1, Ordering::Relaxed);
            assert_eq!(count, expected, "{process}");
        }
        assert!(std::ptr::eq(counter.get(), counter.get()));
    }
}
