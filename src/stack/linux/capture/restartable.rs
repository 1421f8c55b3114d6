//! Which blocked system calls are restarted after a signal: see signal(7).
//!
//! With `SA_RESTART` the kernel restarts some calls after a handler has run. Others end with `EINTR`, which
//! few programs expect. This file lists calls that are known to be restarted; a thread in any other call
//! is sent no signal.

use crate::procfs::{Blocked, Thread};

/// Whether what the thread is blocked in goes on after a handler, and its caller notices nothing.
pub(super) fn is_restartable(thread: Thread, blocked: &Blocked) -> bool {
    let [first, operation, _, timeout, ..] = blocked.arguments;
    let Some(call) = blocked.call else {
        // It waits for a page of memory; the handler runs when the page is there.
        return true;
    };
    match libc::c_long::from(call) {
        libc::SYS_futex => is_untimed_wait(operation, timeout),
        libc::SYS_wait4 | libc::SYS_waitid => true,
        // A read waits for the first byte only. A write waits for each, and returns early. A socket may have
        // a timeout, and then ends with EINTR. Terminals, devices and file systems differ.
        libc::SYS_read | libc::SYS_readv => is_pipe(thread, first),
        _ => false,
    }
}

/// Whether the thread waits in `vfork` for a child that runs on its stack.
pub(super) fn has_lent_its_stack(blocked: &Blocked) -> bool {
    let [flags, stack, ..] = blocked.arguments;
    match blocked.call.map(libc::c_long::from) {
        #[cfg(target_arch = "x86_64")]
        Some(libc::SYS_vfork) => true,
        Some(libc::SYS_clone) => {
            let vfork = u64::from(libc::CLONE_VFORK.unsigned_abs());
            flags & vfork != 0 && stack == 0
        }
        _ => false,
    }
}

/// Whether the file descriptor is a pipe.
fn is_pipe(thread: Thread, file: u64) -> bool {
    let link = std::fs::read_link(format!("/proc/self/task/{}/fd/{file}", thread.0));
    link.is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(b"pipe:"))
}

fn is_untimed_wait(operation: u64, timeout: u64) -> bool {
    let flags = u64::from((libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME).unsigned_abs());
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET];
    let is_wait = waits
        .iter()
        .any(|wait| u64::from(wait.unsigned_abs()) == operation & !flags);
    is_wait && timeout == 0
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;

    fn blocked(call: libc::c_long, arguments: [u64; 6]) -> Blocked {
        Blocked {
            call: u32::try_from(call).ok(),
            arguments,
            sp: 0,
            pc: 0,
        }
    }

    fn restarts(call: libc::c_long, arguments: [u64; 6]) -> bool {
        is_restartable(Thread(std::process::id()), &blocked(call, arguments))
    }

    #[test]
    fn only_a_child_without_a_stack_of_its_own_is_lent_one() {
        const VFORK: u64 = 0x4000;
        for (call, flags, stack, expected) in [
            (libc::SYS_clone, VFORK | 0x111, 0, true),
            // As `posix_spawn` does it.
            (libc::SYS_clone, VFORK | 0x111, 0x7ffd_0000, false),
            (libc::SYS_clone, 0x111, 0, false),
            (libc::SYS_futex, VFORK, 0, false),
        ] {
            let blocked = blocked(call, [flags, stack, 0, 0, 0, 0]);
            assert_eq!(has_lent_its_stack(&blocked), expected, "{flags} {stack}");
        }
        #[cfg(target_arch = "x86_64")]
        assert!(has_lent_its_stack(&blocked(libc::SYS_vfork, [0; 6])));
    }

    #[test]
    fn only_calls_that_are_known_to_be_restarted_get_a_signal() {
        let no_file = u64::MAX;
        for (call, arguments, expected) in [
            // FUTEX_WAIT_PRIVATE and FUTEX_WAIT_BITSET_PRIVATE, with the clock flag, untimed: locks.
            (libc::SYS_futex, [1, 128, 2, 0, 0, 0], true),
            (libc::SYS_futex, [1, 9 | 128 | 256, 2, 0, 0, 0], true),
            // The same with a timeout.
            (libc::SYS_futex, [1, 128, 2, 0x7ffd, 0, 0], false),
            // FUTEX_LOCK_PI, FUTEX_WAIT_REQUEUE_PI.
            (libc::SYS_futex, [1, 6 | 128, 2, 0, 0, 0], false),
            (libc::SYS_futex, [1, 11 | 128, 2, 0, 0, 0], false),
            (libc::SYS_wait4, [0; 6], true),
            (libc::SYS_flock, [0; 6], false),
            (libc::SYS_read, [no_file, 0, 0, 0, 0, 0], false),
            (libc::SYS_clock_nanosleep, [0; 6], false),
            (libc::SYS_epoll_pwait, [0; 6], false),
            (libc::SYS_ppoll, [0; 6], false),
            (libc::SYS_recvfrom, [0; 6], false),
            (libc::SYS_accept4, [0; 6], false),
            (libc::SYS_io_uring_enter, [0; 6], false),
        ] {
            assert_eq!(restarts(call, arguments), expected, "{call} {arguments:?}");
        }
    }

    #[test]
    fn reading_a_pipe_is_restarted_and_writing_is_not() {
        let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdout.as_ref().unwrap().as_raw_fd();
        let (socket, _other_end) = UnixStream::pair().unwrap();
        for (call, file, expected) in [
            (libc::SYS_read, pipe, true),
            (libc::SYS_readv, pipe, true),
            (libc::SYS_write, pipe, false),
            (libc::SYS_writev, pipe, false),
            (libc::SYS_read, socket.as_raw_fd(), false),
        ] {
            let file = u64::try_from(file).unwrap();
            assert_eq!(restarts(call, [file, 0, 0, 0, 0, 0]), expected, "{call}");
        }
        child.wait().unwrap();
    }
}
