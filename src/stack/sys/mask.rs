//! Which signals a thread of loopmon takes. The system hands a signal of the process to any thread that takes it,
//! and what the program's handler does there is unknown.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// The signals by which the system tells a thread of a fault of its own.
const FAULTS: [c_int; 7] = [
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGTRAP,
];

thread_local! {
    /// What the calling thread blocked before it blocked all signals.
    static BEFORE: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

/// From now on, no signal handler of the program runs on the calling thread, unless the thread itself has a fault.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: it fills the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is filled.
    let mut all = unsafe { all.assume_init() };
    for fault in FAULTS {
        // SAFETY: both are valid.
        unsafe { libc::sigdelset(&raw mut all, fault) };
    }
    BEFORE.set(Some(replace_mask(all)));
}

/// Calls what may start a thread that runs code of the program. That thread inherits the mask that the calling
/// thread had before [`block_signals`].
pub(crate) fn with_signals<R>(act: impl FnOnce() -> R) -> R {
    let Some(before) = BEFORE.get() else {
        return act();
    };
    let _blocked = Restore(replace_mask(before));
    act()
}

/// Sets the mask of the calling thread when it is dropped.
struct Restore(libc::sigset_t);

impl Drop for Restore {
    fn drop(&mut self) {
        replace_mask(self.0);
    }
}

/// Returns the mask that it replaces.
fn replace_mask(mask: libc::sigset_t) -> libc::sigset_t {
    let mut before = MaybeUninit::uninit();
    // SAFETY: it reads the one set and fills the other one; it cannot fail, as the first argument is valid.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, before.as_mut_ptr()) };
    // SAFETY: the set is filled.
    unsafe { before.assume_init() }
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::thread::{Builder, JoinHandle};

    use super::*;

    fn start<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Builder::new().spawn(run).unwrap()
    }

    fn blocks(signal: c_int) -> bool {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: without a new mask, it only fills the set.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr()) };
        // SAFETY: the set is filled.
        unsafe { libc::sigismember(mask.as_ptr(), signal) == 1 }
    }

    fn blocked() -> [bool; 4] {
        [libc::SIGUSR1, libc::SIGTERM, libc::SIGPROF, libc::SIGSEGV].map(blocks)
    }

    #[test]
    fn a_thread_that_blocks_signals_starts_threads_that_take_them() {
        let own = start(|| {
            let before = blocked();
            block_signals();
            let inherited = start(blocked).join().unwrap();
            let started = with_signals(|| start(blocked)).join().unwrap();
            (before, blocked(), inherited, started)
        });
        let (before, after, inherited, started) = own.join().unwrap();
        assert_eq!(before, [false; 4]);
        assert_eq!(after, [true, true, true, false]);
        assert_eq!((inherited, started), (after, before));
    }

    #[test]
    fn a_thread_that_takes_signals_goes_on_doing_so() {
        assert!(!with_signals(|| blocks(libc::SIGUSR1)));
        assert!(!blocks(libc::SIGUSR1));
    }
}
