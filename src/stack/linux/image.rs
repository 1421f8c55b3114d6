//! What `capture/` hands to `resolve/`: the copied bytes of a stack, and a bound on how many may wait.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::stack::settings::OwnCode;
use crate::stack::sys::Registers;
use crate::stack::target::Identity;
use crate::stack::trace::{NoStack, ThreadState};

/// Opens the memory of this process. Reading from it fails where nothing is mapped, and never faults.
pub(super) fn open_memory() -> io::Result<File> {
    File::open("/proc/self/mem")
}

/// Bounds the bytes of all stacks that are captured and not yet resolved: 256 stacks of the default size.
/// The first stack may take long to resolve, as debug information is read, and meanwhile all workers may
/// get stuck.
const MAX_BACKLOG: usize = 16 << 20;

/// A thread as it was captured.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(super) stack: Result<Image, NoStack>,
    pub(super) thread_state: ThreadState,
    pub(super) capture_time: Duration,
    /// What the user has said of the program, for when the stack is resolved.
    pub(super) own: OwnCode,
}

impl Capture {
    /// Returns the worker and the task that the thread answered with, if it was asked.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.stack.as_ref().ok()?.identity
    }

    pub(crate) fn shows_calls(&self) -> bool {
        self.stack.is_ok()
    }
}

/// The innermost part of a stack, with the registers that unwinding begins with.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) registers: Registers,
    /// The copied bytes, from the stack pointer up.
    pub(super) bytes: Vec<u8>,
    /// `None` if the thread was not asked.
    pub(super) identity: Option<Identity>,
    _backlog: BacklogShare,
}

impl Image {
    /// Of `bytes`, the first `read` were copied.
    pub(super) fn new(
        registers: Registers,
        mut bytes: Vec<u8>,
        read: usize,
        backlog: BacklogShare,
    ) -> Image {
        bytes.truncate(read);
        bytes.shrink_to_fit();
        Image {
            registers,
            bytes,
            identity: None,
            _backlog: backlog.of(read),
        }
    }

    /// Returns the address at which the copied part ends.
    pub(super) fn end(&self) -> u64 {
        self.registers.sp.saturating_add(self.bytes.len() as u64)
    }

    /// Returns the word at an address, if it was copied.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let start = usize::try_from(address.checked_sub(self.registers.sp)?).ok()?;
        let bytes = self.bytes.get(start..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// The share of one stack in the backlog. Dropping it gives the bytes back.
#[derive(Debug)]
pub(super) struct BacklogShare {
    bytes: usize,
    total: &'static AtomicUsize,
}

impl BacklogShare {
    /// Returns an empty share, or `None` if the backlog is full.
    pub(super) fn reserve() -> Option<BacklogShare> {
        static TOTAL: AtomicUsize = AtomicUsize::new(0);
        BacklogShare::among(&TOTAL)
    }

    fn among(total: &'static AtomicUsize) -> Option<BacklogShare> {
        let has_room = total.load(Ordering::Relaxed) < MAX_BACKLOG;
        has_room.then_some(BacklogShare { bytes: 0, total })
    }

    /// Counts a stack of this size.
    fn of(mut self, bytes: usize) -> BacklogShare {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self
    }
}

impl Drop for BacklogShare {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::settings::StackCapture;

    #[test]
    fn the_backlog_is_bounded_by_its_size() {
        static TOTAL: AtomicUsize = AtomicUsize::new(0);
        for (bytes, expected) in [
            (StackCapture::DEFAULT_STACK_BYTES, 256),
            (StackCapture::MAX_STACK_BYTES, 16),
        ] {
            let next = || Some(BacklogShare::among(&TOTAL)?.of(bytes));
            let backlog: Vec<_> = std::iter::from_fn(next).collect();
            assert_eq!(backlog.len(), expected);
        }
    }
}
