//! What is captured of a thread, for the resolver: which bytes of its stack, and how much of that may wait.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::stack::sys::Registers;
use crate::stack::target::Identity;
use crate::stack::trace::{NoStack, ThreadState};

/// The memory of this process. Reading it fails where nothing is mapped, and never faults.
pub(super) fn open_memory() -> io::Result<File> {
    File::open("/proc/self/mem")
}

/// How much may wait to be read, in bytes of stacks: 256 of them if no other size is set. The first
/// look at the debug information may take long, and meanwhile all workers may come to be stuck.
const MOST_WAITING: usize = 16 << 20;

/// A thread as it was caught.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(super) stack: Result<Image, NoStack>,
    pub(super) thread_state: ThreadState,
    /// How long it took.
    pub(super) took: Duration,
    pub(super) identity: Option<Identity>,
}

impl Capture {
    /// Who it said it was, if it was asked.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(crate) fn shows_calls(&self) -> bool {
        self.stack.is_ok()
    }
}

/// The innermost piece of a stack, and where in it the thread was.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) registers: Registers,
    /// From the stack pointer on.
    pub(super) bytes: Vec<u8>,
    _waiting: Waiting,
}

impl Image {
    pub(super) fn new(
        registers: Registers,
        mut bytes: Vec<u8>,
        read: usize,
        waiting: Waiting,
    ) -> Image {
        bytes.truncate(read);
        bytes.shrink_to_fit();
        Image {
            registers,
            _waiting: waiting.with(read),
            bytes,
        }
    }

    /// Where what was copied of the stack ends.
    pub(super) fn end(&self) -> u64 {
        self.registers.sp.saturating_add(self.bytes.len() as u64)
    }

    /// The word at an address of the stack.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let start = usize::try_from(address.checked_sub(self.registers.sp)?).ok()?;
        let bytes = self.bytes.get(start..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// What a stack takes of what may wait to be read.
#[derive(Debug)]
pub(super) struct Waiting {
    bytes: usize,
    all: &'static AtomicUsize,
}

impl Waiting {
    pub(super) fn begin() -> Option<Waiting> {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        Waiting::among(&ALL)
    }

    fn among(all: &'static AtomicUsize) -> Option<Waiting> {
        (all.load(Ordering::Relaxed) < MOST_WAITING).then_some(Waiting { bytes: 0, all })
    }

    /// For a stack of this size.
    pub(super) fn with(mut self, bytes: usize) -> Waiting {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::settings::StackCapture;

    #[test]
    fn what_waits_to_be_read_is_bounded_by_its_size() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        for (bytes, expected) in [
            (StackCapture::DEFAULT_STACK_BYTES, 256),
            (StackCapture::MAX_STACK_BYTES, 16),
        ] {
            let next = || Some(Waiting::among(&ALL)?.with(bytes));
            let waiting: Vec<_> = std::iter::from_fn(next).collect();
            assert_eq!(waiting.len(), expected);
        }
    }
}
