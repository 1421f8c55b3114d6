//! The handler's system calls, made without the C library. A function of the C library may be a
//! cancellation point, sets `errno`, may be replaced by a preloaded library, and may have to be resolved
//! first, under the loader's lock.

use std::arch::asm;
use std::ffi::c_long;
use std::os::fd::RawFd;

/// Returns the calling thread's id in its own pid namespace, by which a signal is sent to it.
pub(super) fn own_id() -> u32 {
    // SAFETY: the call has no arguments.
    let thread = unsafe { call(libc::SYS_gettid, [0; 4]) };
    // The call always succeeds, and ids have at most 32 bits.
    thread as u32
}

/// Reads a file from `start` on, and returns how many bytes were read: zero if that fails.
pub(super) fn read_at(file: RawFd, into: &mut [u8], start: u64) -> usize {
    let arguments = [
        file as u64,
        into.as_mut_ptr() as u64,
        into.len() as u64,
        start,
    ];
    // SAFETY: the kernel writes only into the slice. An invalid descriptor is an error.
    let read = unsafe { call(libc::SYS_pread64, arguments) };
    usize::try_from(read).unwrap_or(0)
}

/// Returns the register by which the calling thread finds its thread-local variables.
pub(super) fn thread_pointer() -> u64 {
    let pointer;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by Linux's convention, the word at the start of this segment is its own address. It is only read.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: any code may read this register.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem));
    }
    pointer
}

/// Makes a system call.
///
/// # Safety
///
/// Whatever the call does with its arguments must be sound.
unsafe fn call(number: c_long, arguments: [u64; 4]) -> i64 {
    let [first, second, third, fourth] = arguments;
    let returned;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the registers are those of Linux's convention, and the two that the instruction overwrites are
    // declared. The caller answers for what the call does to memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => returned,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the registers are those of Linux's convention. The caller answers for what the call does to
    // memory.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") first => returned,
            in("x1") second,
            in("x2") third,
            in("x3") fourth,
            options(nostack),
        );
    }
    returned
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_thread_knows_its_id() {
        let shown = std::fs::read_link("/proc/thread-self").unwrap();
        assert_eq!(shown.file_name().unwrap(), &*own_id().to_string());
    }

    #[test]
    fn reads_what_is_mapped_and_fails_quietly_elsewhere() {
        let memory = File::open("/proc/self/mem").unwrap();
        let words = [1_u8, 2, 3];
        let mut read = [0; 3];
        let here = words.as_ptr() as u64;
        assert_eq!(read_at(memory.as_raw_fd(), &mut read, here), 3);
        assert_eq!(read, words);
        assert_eq!(read_at(memory.as_raw_fd(), &mut read, 8), 0);
        assert_eq!(read_at(-1, &mut read, here), 0);
    }
}
