//! The watchdog reports a stall even while a thread holds the allocator's lock. A program of its own, as it has
//! an allocator of its own.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use loopmon::{Monitor, Phase};

/// Whether calls of the watchdog count.
static GUARDED: AtomicBool = AtomicBool::new(false);

/// Whether every call waits, as while one thread holds the lock of the allocator.
static HELD: AtomicBool = AtomicBool::new(false);

/// Counts the calls of the watchdog.
static CAME: AtomicUsize = AtomicUsize::new(0);

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn enter() {
    if GUARDED.load(Ordering::SeqCst) && is_watchdog() {
        CAME.fetch_add(1, Ordering::SeqCst);
    }
    while HELD.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_watchdog() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: it writes at most 16 bytes, which are there.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.starts_with(b"loopmon-watch")
}

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        enter();
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        enter();
        // SAFETY: the caller keeps the same contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        enter();
        // SAFETY: the caller keeps the same contract.
        unsafe { System.realloc(memory, layout, size) }
    }
}

const THRESHOLD: Duration = Duration::from_millis(60);
const BLOCK: Duration = Duration::from_millis(400);

fn block() {
    std::thread::sleep(BLOCK);
}

/// The phases of the reports that `blocking` causes, read on a thread that needs no memory for it; and whether
/// the stall still went on at the first.
fn heard(blocking: fn()) -> (Vec<Phase>, bool) {
    static GOES_ON: AtomicBool = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let monitor = Monitor::builder()
        .stall_threshold(THRESHOLD)
        .install_on(runtime.handle())
        .unwrap();
    let mut stalls = monitor.stalls();
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::Builder::new()
        .spawn(move || {
            let mut phases = Vec::with_capacity(64);
            let mut was_live = false;
            while let Some(stall) = futures::executor::block_on(stalls.next()) {
                was_live |= phases.is_empty() && GOES_ON.load(Ordering::SeqCst);
                phases.push(stall.phase);
            }
            sender.send((phases, was_live)).unwrap();
        })
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    GUARDED.store(true, Ordering::SeqCst);
    let task = runtime.spawn(async move {
        GOES_ON.store(true, Ordering::SeqCst);
        blocking();
        GOES_ON.store(false, Ordering::SeqCst);
    });
    runtime.block_on(task).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    GUARDED.store(false, Ordering::SeqCst);
    monitor.stop();
    let heard = receiver.recv().unwrap();
    reader.join().unwrap();
    heard
}

/// Holds the lock of the process's memory map for a while.
fn unmap() {
    const BYTES: usize = 2 << 30;
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: it maps new memory.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, access, kind, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: the memory is there, and nobody else knows of it.
    unsafe { libc::madvise(memory, BYTES, libc::MADV_NOHUGEPAGE) };
    for offset in (0..BYTES).step_by(4096) {
        // SAFETY: as above, and the offset is less than its size.
        unsafe { memory.cast::<u8>().wrapping_add(offset).write(1) };
    }
    // SAFETY: as above, and nobody refers to it.
    unsafe { libc::munmap(memory, BYTES) };
}

/// One after the other, as they share the allocator. `tests/syscalls.py` counts what the watchdog asks of
/// the system meanwhile.
#[test]
fn the_watchdog_needs_no_memory() {
    let (phases, _) = heard(block);
    assert_eq!(CAME.load(Ordering::SeqCst), 0);
    assert_eq!(phases.first(), Some(&Phase::Started), "{phases:?}");

    let (phases, was_live) = heard(|| {
        HELD.store(true, Ordering::SeqCst);
        block();
        HELD.store(false, Ordering::SeqCst);
    });
    assert_eq!(phases.first(), Some(&Phase::Started), "{phases:?}");
    assert!(was_live, "{phases:?}");
    assert_eq!(CAME.load(Ordering::SeqCst), 0);

    let (phases, _) = heard(unmap);
    assert_eq!(phases.first(), Some(&Phase::Started), "{phases:?}");
    assert_eq!(CAME.load(Ordering::SeqCst), 0);
    // None of the stalls was taken for a pause: each lasts for at least `BLOCK`. A virtual machine may stand still
    // itself while it gets and gives back so much memory; that was up to 90 ms here.
    let pauses = loopmon::pauses();
    assert!(pauses.total < BLOCK, "{pauses:?}");
}
