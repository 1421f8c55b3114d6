//! The alternate stack that a thread's handlers run on. What runs there is in `handler.rs`.
//!
//! The one that Rust sets up has room for the registers that the kernel saves, and little more: some hundred
//! bytes where a thread has used AMX. C threads mostly have none, and may have little of their own stack
//! left.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::program::auxiliary;

/// Bounds the stack that our handler uses, in bytes, beside what the kernel saves. It holds for all builds,
/// with sanitizers too. A test measures it.
pub(super) const HANDLER_BYTES: usize = 4 << 10;

/// The stack that a handler of the program may use while ours runs on top of it, in bytes, beside what the
/// kernel saves.
const OTHER_HANDLER_BYTES: usize = 8 << 10;

/// What a kernel saves that does not report it, in bytes: at most the registers of AVX-512. A kernel that
/// saves more reports it.
const LEAST_FRAME: usize = 4 << 10;

/// Whether the calling thread's alternate stack has room for our handler on top of another.
pub(super) fn has_room() -> bool {
    current().is_some_and(|stack| fits(&stack))
}

fn fits(stack: &libc::stack_t) -> bool {
    stack.ss_flags & libc::SS_DISABLE == 0 && stack.ss_size >= needed()
}

fn needed() -> usize {
    2 * frame() + HANDLER_BYTES + OTHER_HANDLER_BYTES
}

/// Returns the most that the kernel saves on the stack before it calls a handler, in bytes.
pub(super) fn frame() -> usize {
    auxiliary(libc::AT_MINSIGSTKSZ).max(LEAST_FRAME)
}

/// An alternate stack of the thread that has installed it, until it is dropped.
#[derive(Debug)]
pub(super) struct AlternateStack {
    mapping: *mut c_void,
    size: usize,
    /// The size of the inaccessible part below the stack, in bytes.
    guard: usize,
    /// The stack that the thread had before.
    before: libc::stack_t,
}

impl AlternateStack {
    /// Returns `None` if the system refuses it.
    pub(super) fn install() -> Option<AlternateStack> {
        let before = current()?;
        let guard = page();
        let size = guard + needed().next_multiple_of(guard);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: this makes a new anonymous mapping at an address that the kernel chooses.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        // From here on, dropping it unmaps it.
        let stack = AlternateStack {
            mapping,
            size,
            guard,
            before,
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: this is the upper part of our own mapping. The part below stays inaccessible, as a guard.
        let opened = unsafe { libc::mprotect(stack.lowest(), size - guard, access) };
        (opened == 0 && set(&stack.described())).then_some(stack)
    }

    fn lowest(&self) -> *mut c_void {
        self.mapping.wrapping_byte_add(self.guard)
    }

    fn described(&self) -> libc::stack_t {
        libc::stack_t {
            ss_sp: self.lowest(),
            ss_flags: 0,
            ss_size: self.size - self.guard,
        }
    }
}

/// Runs on the thread that has installed the stack, which keeps it in a thread-local variable.
impl Drop for AlternateStack {
    fn drop(&mut self) {
        // A thread of Rust has disabled its alternate stack by now. Another thread gets its former one back.
        let is_used = current().is_none_or(|stack| stack.ss_sp == self.lowest());
        if is_used && !set(&self.before) {
            // A handler is running on it.
            return;
        }
        // SAFETY: the mapping is ours, and no handler runs on it any more.
        unsafe { libc::munmap(self.mapping, self.size) };
    }
}

pub(super) fn current() -> Option<libc::stack_t> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: without a new stack, the call only writes the current one to the given place.
    let read = unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) };
    // SAFETY: the call has written it.
    (read == 0).then(|| unsafe { current.assume_init() })
}

fn set(stack: &libc::stack_t) -> bool {
    // SAFETY: it is a mapping that stays until another stack is set, or the stack that the thread had before.
    let set: c_int = unsafe { libc::sigaltstack(stack, ptr::null_mut()) };
    set == 0
}

fn page() -> usize {
    // The kernel always reports it; 64 KiB is the largest that there is.
    match auxiliary(libc::AT_PAGESZ) {
        0 => 64 << 10,
        page => page,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    /// Gives the calling thread an alternate stack that is too small while `work` runs.
    pub(in super::super) fn on_a_small_one(work: impl FnOnce()) {
        let before = current().unwrap();
        let mut memory = vec![0_u8; needed() - 1];
        let small = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: memory.len(),
        };
        assert!(set(&small));
        work();
        assert!(set(&before));
    }

    fn is_mapped(address: *mut c_void) -> bool {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains(&format!("{:x}-", address as usize))
    }

    #[test]
    fn a_thread_has_it_until_it_is_dropped_and_then_the_former_one() {
        let has_it = thread::Builder::new().spawn(|| {
            let before = current().unwrap();
            let stack = AlternateStack::install().unwrap();
            assert!(has_room());
            assert_eq!(current().unwrap().ss_sp, stack.lowest());
            let lowest = stack.lowest();
            assert!(is_mapped(lowest));
            drop(stack);
            assert!(!is_mapped(lowest));
            assert_eq!(current().unwrap().ss_sp, before.ss_sp);
        });
        has_it.unwrap().join().unwrap();
    }

    #[test]
    fn a_stack_that_was_set_meanwhile_stays() {
        let sets = thread::Builder::new().spawn(|| {
            let stack = AlternateStack::install().unwrap();
            let later = AlternateStack::install().unwrap();
            drop(stack);
            assert_eq!(current().unwrap().ss_sp, later.lowest());
        });
        sets.unwrap().join().unwrap();
    }

    #[test]
    fn a_small_one_or_none_has_no_room() {
        let of = |ss_flags, ss_size| libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags,
            ss_size,
        };
        assert!(fits(&of(0, needed())));
        assert!(!fits(&of(0, needed() - 1)));
        assert!(!fits(&of(libc::SS_DISABLE, usize::MAX)));
    }
}
