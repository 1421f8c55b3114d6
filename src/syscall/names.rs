//! The names of the system calls that can wait, in which a thread may be found blocked. Other calls are
//! missing.

/// A call with its number on x86-64, and its number on the architectures that came to Linux later, if it
/// exists there.
type Call = (&'static str, u32, Option<u32>);

/// Returns the name of a system call of this architecture, if it is in the table.
pub(super) fn name(number: u32) -> Option<&'static str> {
    let found = CALLS.iter().find(|call| number_here(call) == Some(number));
    found.map(|(name, ..)| *name)
}

fn number_here(&(_, on_x86_64, elsewhere): &Call) -> Option<u32> {
    if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        Some(on_x86_64)
    } else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
        elsewhere
    } else {
        None
    }
}

const CALLS: &[Call] = &[
    ("read", 0, Some(63)),
    ("write", 1, Some(64)),
    ("open", 2, None),
    ("close", 3, Some(57)),
    ("stat", 4, None),
    ("poll", 7, None),
    ("mmap", 9, Some(222)),
    ("mprotect", 10, Some(226)),
    ("munmap", 11, Some(215)),
    ("ioctl", 16, Some(29)),
    ("pread64", 17, Some(67)),
    ("pwrite64", 18, Some(68)),
    ("readv", 19, Some(65)),
    ("writev", 20, Some(66)),
    ("select", 23, None),
    ("sched_yield", 24, Some(124)),
    ("mremap", 25, Some(216)),
    ("msync", 26, Some(227)),
    ("madvise", 28, Some(233)),
    ("pause", 34, None),
    ("nanosleep", 35, Some(101)),
    ("sendfile", 40, Some(71)),
    ("connect", 42, Some(203)),
    ("accept", 43, Some(202)),
    ("sendto", 44, Some(206)),
    ("recvfrom", 45, Some(207)),
    ("sendmsg", 46, Some(211)),
    ("recvmsg", 47, Some(212)),
    ("clone", 56, Some(220)),
    ("vfork", 58, None),
    ("wait4", 61, Some(260)),
    ("semop", 65, Some(193)),
    ("msgsnd", 69, Some(189)),
    ("msgrcv", 70, Some(188)),
    ("fcntl", 72, Some(25)),
    ("flock", 73, Some(32)),
    ("fsync", 74, Some(82)),
    ("fdatasync", 75, Some(83)),
    ("ftruncate", 77, Some(46)),
    ("rename", 82, None),
    ("unlink", 87, None),
    ("rt_sigtimedwait", 128, Some(137)),
    ("rt_sigsuspend", 130, Some(133)),
    ("sync", 162, Some(81)),
    ("mount", 165, Some(40)),
    ("umount2", 166, Some(39)),
    ("futex", 202, Some(98)),
    ("io_getevents", 208, Some(4)),
    ("getdents64", 217, Some(61)),
    ("semtimedop", 220, Some(192)),
    ("clock_nanosleep", 230, Some(115)),
    ("epoll_wait", 232, None),
    ("waitid", 247, Some(95)),
    ("openat", 257, Some(56)),
    ("newfstatat", 262, Some(79)),
    ("unlinkat", 263, Some(35)),
    ("renameat", 264, None),
    ("pselect6", 270, Some(72)),
    ("ppoll", 271, Some(73)),
    ("splice", 275, Some(76)),
    ("sync_file_range", 277, None),
    ("epoll_pwait", 281, Some(22)),
    ("fallocate", 285, Some(47)),
    ("accept4", 288, Some(242)),
    ("preadv", 295, Some(69)),
    ("pwritev", 296, Some(70)),
    ("recvmmsg", 299, Some(243)),
    ("syncfs", 306, Some(267)),
    ("sendmmsg", 307, Some(269)),
    ("renameat2", 316, Some(276)),
    ("getrandom", 318, Some(278)),
    ("membarrier", 324, Some(283)),
    ("copy_file_range", 326, Some(285)),
    ("statx", 332, Some(291)),
    ("io_uring_enter", 426, Some(426)),
    ("clone3", 435, Some(435)),
    ("epoll_pwait2", 441, Some(441)),
    ("futex_waitv", 449, Some(449)),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_has_two_names_on_any_architecture() {
        let mut on_x86_64 = HashSet::new();
        assert!(CALLS.iter().all(|call| on_x86_64.insert(call.1)));
        let mut elsewhere = HashSet::new();
        let mut there = CALLS.iter().filter_map(|call| call.2);
        assert!(there.all(|number| elsewhere.insert(number)));
        assert_eq!(name(u32::MAX), None);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn knows_the_usual_suspects() {
        for (number, expected) in [(0, "read"), (35, "nanosleep"), (202, "futex")] {
            assert_eq!(name(number), Some(expected));
        }
    }
}
