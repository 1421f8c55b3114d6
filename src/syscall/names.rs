//! The names of the system calls that can wait, in which a thread may be found blocked. Other calls are
//! missing.
//!
//! Linux numbers calls differently for each architecture.

/// Returns the name of a system call of this architecture, if it is in the table.
pub(super) fn name(number: u32) -> Option<&'static str> {
    let found = NAMES.binary_search_by_key(&number, |(number, _)| *number);
    found.ok().map(|index| NAMES[index].1)
}

#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
const NAMES: &[(u32, &str)] = &[];

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
const NAMES: &[(u32, &str)] = &[
    (0, "read"),
    (1, "write"),
    (2, "open"),
    (3, "close"),
    (4, "stat"),
    (7, "poll"),
    (9, "mmap"),
    (10, "mprotect"),
    (11, "munmap"),
    (16, "ioctl"),
    (17, "pread64"),
    (18, "pwrite64"),
    (19, "readv"),
    (20, "writev"),
    (23, "select"),
    (24, "sched_yield"),
    (25, "mremap"),
    (26, "msync"),
    (28, "madvise"),
    (34, "pause"),
    (35, "nanosleep"),
    (40, "sendfile"),
    (42, "connect"),
    (43, "accept"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (56, "clone"),
    (58, "vfork"),
    (61, "wait4"),
    (65, "semop"),
    (69, "msgsnd"),
    (70, "msgrcv"),
    (72, "fcntl"),
    (73, "flock"),
    (74, "fsync"),
    (75, "fdatasync"),
    (77, "ftruncate"),
    (82, "rename"),
    (87, "unlink"),
    (128, "rt_sigtimedwait"),
    (130, "rt_sigsuspend"),
    (162, "sync"),
    (165, "mount"),
    (166, "umount2"),
    (202, "futex"),
    (208, "io_getevents"),
    (217, "getdents64"),
    (220, "semtimedop"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (247, "waitid"),
    (257, "openat"),
    (262, "newfstatat"),
    (263, "unlinkat"),
    (264, "renameat"),
    (270, "pselect6"),
    (271, "ppoll"),
    (275, "splice"),
    (277, "sync_file_range"),
    (281, "epoll_pwait"),
    (285, "fallocate"),
    (288, "accept4"),
    (295, "preadv"),
    (296, "pwritev"),
    (299, "recvmmsg"),
    (306, "syncfs"),
    (307, "sendmmsg"),
    (316, "renameat2"),
    (318, "getrandom"),
    (324, "membarrier"),
    (326, "copy_file_range"),
    (332, "statx"),
    (426, "io_uring_enter"),
    (435, "clone3"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
];

// The table of every architecture that came to Linux later.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const NAMES: &[(u32, &str)] = &[
    (4, "io_getevents"),
    (22, "epoll_pwait"),
    (25, "fcntl"),
    (29, "ioctl"),
    (32, "flock"),
    (35, "unlinkat"),
    (39, "umount2"),
    (40, "mount"),
    (46, "ftruncate"),
    (47, "fallocate"),
    (56, "openat"),
    (57, "close"),
    (61, "getdents64"),
    (63, "read"),
    (64, "write"),
    (65, "readv"),
    (66, "writev"),
    (67, "pread64"),
    (68, "pwrite64"),
    (69, "preadv"),
    (70, "pwritev"),
    (71, "sendfile"),
    (72, "pselect6"),
    (73, "ppoll"),
    (76, "splice"),
    (79, "newfstatat"),
    (81, "sync"),
    (82, "fsync"),
    (83, "fdatasync"),
    (95, "waitid"),
    (98, "futex"),
    (101, "nanosleep"),
    (115, "clock_nanosleep"),
    (124, "sched_yield"),
    (133, "rt_sigsuspend"),
    (137, "rt_sigtimedwait"),
    (188, "msgrcv"),
    (189, "msgsnd"),
    (192, "semtimedop"),
    (193, "semop"),
    (202, "accept"),
    (203, "connect"),
    (206, "sendto"),
    (207, "recvfrom"),
    (211, "sendmsg"),
    (212, "recvmsg"),
    (215, "munmap"),
    (216, "mremap"),
    (220, "clone"),
    (222, "mmap"),
    (226, "mprotect"),
    (227, "msync"),
    (233, "madvise"),
    (242, "accept4"),
    (243, "recvmmsg"),
    (260, "wait4"),
    (267, "syncfs"),
    (269, "sendmmsg"),
    (276, "renameat2"),
    (278, "getrandom"),
    (283, "membarrier"),
    (285, "copy_file_range"),
    (291, "statx"),
    (426, "io_uring_enter"),
    (435, "clone3"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(NAMES.is_sorted_by(|one, next| one.0 < next.0));
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
