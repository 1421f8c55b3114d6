//! Stacks of threads that do what stalled workers do.

mod doubts;
mod interrupted;
mod signals;
mod stress;

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::capture::{signal, take_by_signal};
use super::image::{BacklogShare, Image, open_memory};
use super::{Capture, OnCpuTracker, Resolver, capture};
use crate::clock;
use crate::procfs::{Activity, Thread};
use crate::stack::sys::{introduce, own_id};
use crate::stack::{Frame, NoStack, StackCapture, StackTrace, Target};

/// A thread that works until `end`.
struct Subject<R = ()> {
    id: u32,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<R>,
}

impl Subject {
    fn start<R>(work: impl FnOnce(&AtomicBool) -> R + Send + 'static) -> Subject<R>
    where
        R: Send + 'static,
    {
        let ends = Arc::new(AtomicBool::new(false));
        let (told, id) = mpsc::channel();
        let until = Arc::clone(&ends);
        let thread = thread::Builder::new()
            .spawn(move || {
                introduce();
                told.send(own_id().unwrap()).unwrap();
                work(&until)
            })
            .unwrap();
        let id = id.recv().unwrap();
        Subject { id, ends, thread }
    }
}

impl<R> Subject<R> {
    fn wait_until_blocked(&self) {
        while !matches!(Thread(self.id).activity(), Activity::Blocked(blocked) if blocked.call.is_some())
        {
            thread::yield_now();
        }
    }

    fn target(&self) -> Target {
        Target {
            proc_id: self.id,
            id: self.id,
        }
    }

    fn capture(&self, tracker: &mut OnCpuTracker, settings: &StackCapture) -> Capture {
        capture(self.target(), tracker, settings, soon()).unwrap()
    }

    /// Tries again while the thread gets no CPU, as other tests use all of it.
    fn trace(&self) -> StackTrace {
        let mut tracker = OnCpuTracker::default();
        let traces = std::iter::repeat_with(|| {
            Resolver::default().resolve(self.capture(&mut tracker, &StackCapture::new()))
        });
        let waits = [NoStack::NoAnswer, NoStack::WouldInterrupt].map(Some);
        let mut answers = traces.filter(|trace| !waits.contains(&trace.no_stack()));
        answers.next().unwrap()
    }

    fn end(self) -> R {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Asks a thread for its stack, whatever it does.
fn by_signal(target: Target, settings: &StackCapture) -> Result<Image, NoStack> {
    take_by_signal(
        target,
        signal(settings, soon()).unwrap(),
        settings.bytes,
        open_memory().unwrap(),
        BacklogShare::reserve().unwrap(),
    )
    .map_err(|unanswered| unanswered.reason)
}

const SECOND: Duration = Duration::from_secs(1);

/// musl's has none: there, the calls past its code are searched for.
const C_LIBRARY_HAS_TABLES: bool = cfg!(not(target_env = "musl"));

fn soon() -> Instant {
    clock::now() + SECOND
}

/// The function that the tests expect in a trace.
#[inline(never)]
fn sleeps_by_name(until: &AtomicBool) {
    while !until.load(Ordering::Relaxed) {
        thread::sleep(SECOND / 10);
    }
}

#[inline(never)]
fn spins_by_name(until: &AtomicBool) {
    while !until.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

fn panics() {
    struct Dropped;
    impl Drop for Dropped {
        fn drop(&mut self) {
            std::hint::black_box(&self);
        }
    }
    let caught = panic::catch_unwind(|| {
        let _dropped = Dropped;
        panic::resume_unwind(Box::new(5_u8))
    });
    assert!(caught.is_err());
}

#[allow(unsafe_code, reason = "to load a library takes the C library")]
fn loads_a_library(then: fn()) {
    // SAFETY: the library is the C library's own.
    let library = unsafe { libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW) };
    // A static program loads none.
    assert!(!library.is_null() || cfg!(target_feature = "crt-static"));
    then();
    if !library.is_null() {
        // SAFETY: it has just been loaded.
        unsafe { libc::dlclose(library) };
    }
}

#[track_caller]
fn assert_shows(trace: &StackTrace, function: &str) {
    assert_eq!(trace.no_stack(), None, "{trace:#}");
    let is_sure = !trace.is_scanned() || !C_LIBRARY_HAS_TABLES;
    assert!(is_sure && !trace.is_truncated(), "{trace:#}");
    let frame = trace.user_frames().iter().find(|frame| {
        let name = frame.function().unwrap_or_default();
        name.ends_with(function)
    });
    let frame = frame.unwrap_or_else(|| panic!("{trace:#}"));
    assert!(
        frame
            .file()
            .is_some_and(|file| file.ends_with("src/stack/linux/tests.rs"))
    );
    assert!(frame.line().is_some());
}

#[test]
fn a_blocked_thread_is_read_from_outside() {
    let sleeper = Subject::start(sleeps_by_name);
    sleeper.wait_until_blocked();
    let no_signals = StackCapture::new().without_signals();
    let trace =
        Resolver::default().resolve(sleeper.capture(&mut OnCpuTracker::default(), &no_signals));
    assert_shows(&trace, "sleeps_by_name");
    sleeper.end();
}

#[inline(never)]
fn waits_by_name(until: &AtomicBool) {
    let (lock, condition) = (Mutex::new(()), Condvar::new());
    while !until.load(Ordering::Relaxed) {
        let waited = condition.wait_timeout(lock.lock().unwrap(), SECOND / 10);
        drop(waited.unwrap());
    }
}

/// On AArch64, the C library makes this call in a function that saves nothing on the stack.
#[test]
fn a_thread_that_waits_with_a_time_limit_is_read_from_outside() {
    let waiter = Subject::start(waits_by_name);
    waiter.wait_until_blocked();
    let trace = waiter.trace();
    assert_shows(&trace, "waits_by_name");
    waiter.end();
}

#[test]
fn a_running_thread_is_asked() {
    let spinner = Subject::start(spins_by_name);
    let trace = spinner.trace();
    assert_shows(&trace, "spins_by_name");
    assert!(!trace.is_scanned(), "{trace:#}");
    let no_signals = StackCapture::new().without_signals();
    let trace =
        Resolver::default().resolve(spinner.capture(&mut OnCpuTracker::default(), &no_signals));
    assert_eq!(trace.no_stack(), Some(NoStack::SignalsOff));
    spinner.end();
}

#[inline(never)]
fn descends_by_name(calls: u32, then: &mut dyn FnMut()) {
    match calls.checked_sub(1) {
        Some(left) => descends_by_name(left, then),
        None => then(),
    }
    std::hint::black_box(calls);
}

#[test]
fn of_a_stack_deeper_than_the_copy_the_innermost_calls_are_shown() {
    let sleeper = Subject::start(|until| descends_by_name(1_000, &mut || sleeps_by_name(until)));
    sleeper.wait_until_blocked();
    let settings = StackCapture::new().without_signals().stack_bytes(16 << 10);
    let trace =
        Resolver::default().resolve(sleeper.capture(&mut OnCpuTracker::default(), &settings));
    let calls = |function| {
        let named = |frame: &&Frame| frame.function().is_some_and(|it| it.ends_with(function));
        trace.user_frames().iter().filter(named).count()
    };
    assert!(trace.is_truncated());
    assert_eq!(calls("sleeps_by_name"), 1, "{trace:#}");
    assert!(calls("descends_by_name") >= 50, "{trace:#}");
    sleeper.end();
}
