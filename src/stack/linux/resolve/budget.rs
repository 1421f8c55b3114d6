//! How much may be read of files and memory whose contents are not trusted.
//!
//! Readers pay for what they keep in memory, and for each read, as what they build from one takes time and
//! memory too. And they may read only so far down the stack.

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

/// How far down the stack is read from, in bytes: half of what a thread has. What is nested is read recursively, by
/// a library that bounds that by nothing.
const MAX_DEPTH: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Budget {
    /// Counts the bytes that may still be kept.
    bytes: Cell<u64>,
    /// Counts the reads that may still be made.
    reads: Cell<u64>,
    /// The highest place of the stack that was read from: the first, more or less.
    top: Cell<usize>,
    is_exceeded: Cell<bool>,
}

impl Budget {
    pub(super) fn new(bytes: u64, reads: u64) -> Rc<Budget> {
        Rc::new(Budget {
            bytes: Cell::new(bytes),
            reads: Cell::new(reads),
            top: Cell::new(0),
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

    /// Returns `None` if fewer reads are left, or if the stack is too deep.
    pub(super) fn take_reads(&self, reads: u64) -> Option<()> {
        let here = ptr::from_ref(&reads).addr();
        let top = self.top.get().max(here);
        self.top.set(top);
        if top - here > MAX_DEPTH {
            self.is_exceeded.set(true);
            return None;
        }
        self.take_from(&self.reads, reads)
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
