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
        let left = self.bytes.get().checked_sub(bytes);
        self.is_exceeded
            .set(self.is_exceeded.get() || left.is_none());
        self.bytes.set(left?);
        Some(())
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// Returns `None` if no read is left.
    pub(super) fn take_read(&self) -> Option<()> {
        let left = self.reads.get().checked_sub(1);
        self.is_exceeded
            .set(self.is_exceeded.get() || left.is_none());
        self.reads.set(left?);
        Some(())
    }

    /// Whether more was asked for than was left.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }
}
