//! How much may be read of files and memory whose contents are not trusted.
//!
//! Readers pay for what they keep in memory, and for each read, as what they build from one takes time and
//! memory too.

use std::cell::Cell;
use std::rc::Rc;

#[derive(Debug)]
pub(super) struct Budget {
    /// Counts the bytes that may still be kept.
    bytes: Cell<u64>,
    /// Counts the reads that may still be made.
    reads: Cell<u64>,
    is_exceeded: Cell<bool>,
}

impl Budget {
    pub(super) fn new(bytes: u64, reads: u64) -> Rc<Budget> {
        Rc::new(Budget {
            bytes: Cell::new(bytes),
            reads: Cell::new(reads),
            is_exceeded: Cell::new(false),
        })
    }

    /// Returns `None`, and takes nothing, if fewer bytes are left.
    pub(super) fn take(&self, bytes: u64) -> Option<()> {
        self.take_from(&self.bytes, bytes)
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// Returns `None` if no read is left.
    pub(super) fn take_read(&self) -> Option<()> {
        self.take_from(&self.reads, 1)
    }

    fn take_from(&self, left: &Cell<u64>, wanted: u64) -> Option<()> {
        let rest = left.get().checked_sub(wanted);
        self.is_exceeded
            .set(self.is_exceeded.get() || rest.is_none());
        left.set(rest?);
        Some(())
    }

    /// Whether more was asked for than was left.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }
}
