//! The stack that a thread's handlers run on.
//!
//! Rust's own has what the kernel saves of the processor, and little more: where a thread has used
//! AMX, some hundred bytes. C threads mostly have none, and may have little of their own stack left.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::program::auxiliary;

/// What the handler takes at most beside what the kernel saves, in bytes, whatever the build, be it
/// for a sanitizer. A test measures it.
pub(super) const HANDLER_BYTES: usize = 4 << 10;

/// What a handler of the program's may have taken when ours comes on top of it, beside what the
/// kernel saves.
const OTHERS_BYTES: usize = 8 << 10;

/// What the kernel saves at most where it does not say it: the registers of AVX-512. A kernel that
/// knows of more, says it.
const LEAST_FRAME: usize = 4 << 10;

/// Whether a thread's handlers have room for ours, if need be on top of another.
pub(super) fn has_room() -> bool {
    current().is_some_and(|stack| fits(&stack))
}

fn fits(stack: &libc::stack_t) -> bool {
    stack.ss_flags & libc::SS_DISABLE == 0 && stack.ss_size >= needed()
}

fn needed() -> usize {
    2 * frame() + HANDLER_BYTES + OTHERS_BYTES
}

/// What the kernel saves of a thread at most before it calls a handler, in bytes.
pub(super) fn frame() -> usize {
    auxiliary(libc::AT_MINSIGSTKSZ).max(LEAST_FRAME)
}

/// A stack for the handlers of the thread that has made it, for as long as it lives.
#[derive(Debug)]
pub(super) struct AlternateStack {
    mapping: *mut c_void,
    size: usize,
    guard: usize,
    before: libc::stack_t,
}

impl AlternateStack {
    /// `None` if the system refuses it.
    pub(super) fn install() -> Option<AlternateStack> {
        let before = current()?;
        let guard = page();
        let size = guard + needed().next_multiple_of(guard);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping, where the kernel likes, of no file.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        // From here on dropping it unmaps it.
        let stack = AlternateStack {
            mapping,
            size,
            guard,
            before,
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: it is the upper part of the mapping. What is below it stays, to be run into.
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

/// On the thread that has made it, as it is kept in a variable of that thread.
impl Drop for AlternateStack {
    fn drop(&mut self) {
        // Rust's own thread has done without any by now; others find again what they have set.
        let is_used = current().is_none_or(|stack| stack.ss_sp == self.lowest());
        if is_used && !set(&self.before) {
            // A handler is on it.
            return;
        }
        // SAFETY: the mapping is ours, and no handler is called on it any longer.
        unsafe { libc::munmap(self.mapping, self.size) };
    }
}

pub(super) fn current() -> Option<libc::stack_t> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: with no new stack it only writes the current one to where it is told to.
    let told = unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) };
    // SAFETY: it has been written.
    (told == 0).then(|| unsafe { current.assume_init() })
}

fn set(stack: &libc::stack_t) -> bool {
    // SAFETY: it is a mapping that stays until another is set; or what the thread had before.
    let set: c_int = unsafe { libc::sigaltstack(stack, ptr::null_mut()) };
    set == 0
}

fn page() -> usize {
    // What the kernel told at the start is always there; 64 KiB is the largest that it has.
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

    /// Has the calling thread's handlers run on a stack that is too small while `work` is done.
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
    fn a_thread_has_it_until_it_is_dropped_and_then_what_it_had() {
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
    fn what_has_been_set_meanwhile_stays() {
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
