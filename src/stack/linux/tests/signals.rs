//! Our signal among others: a profiler's, the program's, and a masked one.
#![allow(
    unsafe_code,
    reason = "handlers are set, and a thread's stacks are read"
)]

use std::ffi::c_int;
use std::fs;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicU32;

use super::super::capture::Status;
use super::*;

fn set(signal: c_int, flags: c_int, function: extern "C" fn(c_int)) {
    let action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it is made of integers, and of an address that may be null.
    let mut action = unsafe { action.assume_init() };
    action.sa_sigaction = function as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: the handlers here use only atomics and the stack.
    let set = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    assert_eq!(set, 0);
}

fn send(thread: u32, signal: c_int) {
    // SAFETY: it takes three integers, and the signal is handled.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, signal) };
}

fn alternate_stack() -> libc::stack_t {
    let mut stack = MaybeUninit::uninit();
    // SAFETY: the call only writes to the given place.
    let read = unsafe { libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) };
    assert_eq!(read, 0);
    // SAFETY: the call has written it.
    unsafe { stack.assume_init() }
}

fn is_on_alternate_stack() -> bool {
    alternate_stack().ss_flags & libc::SS_ONSTACK != 0
}

/// Uses as many KiB of the stack.
#[inline(never)]
fn descend(kib: u32) {
    let mut room = [1_u8; 1024];
    black_box(&mut room);
    if kib > 1 {
        descend(kib - 1);
    }
    black_box(&mut room);
}

/// Profilers leave SA_ONSTACK out, as they need more room than an alternate stack has.
#[test]
fn a_profilers_handler_is_never_called_on_top_of_ours() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    static NESTED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn profile(_: c_int) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        NESTED.fetch_add(u32::from(is_on_alternate_stack()), Ordering::Relaxed);
        descend(16);
    }
    set(libc::SIGPROF, libc::SA_RESTART, profile);
    let subject = Subject::start(spins_by_name);
    let profiled = subject.id;
    let profiler = Subject::start(move |until| {
        while !until.load(Ordering::Relaxed) {
            send(profiled, libc::SIGPROF);
            for _ in 0..1_000 {
                std::hint::spin_loop();
            }
        }
    });
    let mut stacks = 0;
    while stacks < 300 || CALLS.load(Ordering::Relaxed) < 300 {
        stacks += u32::from(by_signal(subject.target(), &StackCapture::new()).is_ok());
    }
    profiler.end();
    subject.end();
    assert_eq!(NESTED.load(Ordering::Relaxed), 0);
}

/// A handler of the program that runs on the alternate stack, as Go's do, is interrupted like any other code.
#[test]
fn ours_has_room_on_top_of_the_programs_own() {
    static ENDS: AtomicBool = AtomicBool::new(false);
    static BEGAN: AtomicBool = AtomicBool::new(false);
    extern "C" fn spin(_: c_int) {
        let mut room = [1_u8; 6 << 10];
        black_box(&mut room);
        assert!(is_on_alternate_stack());
        BEGAN.store(true, Ordering::SeqCst);
        spins_by_name(&ENDS);
        black_box(&mut room);
    }
    const SIGNAL: c_int = 41;
    set(SIGNAL, libc::SA_RESTART | libc::SA_ONSTACK, spin);
    let subject = Subject::start(spins_by_name);
    send(subject.id, SIGNAL);
    while !BEGAN.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    let mut stacks = 0;
    while stacks < 20 {
        stacks += u32::from(by_signal(subject.target(), &StackCapture::new()).is_ok());
    }
    ENDS.store(true, Ordering::SeqCst);
    subject.end();
}

fn mask(signal: c_int) {
    let set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: all zero is the empty set.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: as above; the former mask is not wanted.
    let masked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    assert_eq!(masked, 0);
}

#[test]
fn no_signal_is_sent_to_a_thread_that_masks_it() {
    const SIGNAL: c_int = 40;
    let subject = Subject::start(|until| {
        mask(SIGNAL);
        spins_by_name(until);
    });
    let mut tracker = OnCpuTracker::default();
    let settings = StackCapture::new().signal(SIGNAL);
    for _ in 0..200 {
        let stack = subject.capture(&mut tracker, &settings).stack;
        let reason = stack.unwrap_err();
        // It has got too little CPU to be seen running.
        let waits = reason == NoStack::WouldInterrupt;
        assert!(waits || reason == NoStack::SignalMasked, "{reason}");
    }
    assert_eq!(
        Status::of(Thread(subject.id))
            .unwrap()
            .check_delivery(SIGNAL),
        Err(NoStack::SignalMasked)
    );
    assert_eq!(pending(subject.id), 0);
    subject.end();
}

fn pending(thread: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let signals = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    u64::from_str_radix(signals.unwrap().trim(), 16).unwrap()
}
