//! A stack is right, or it says where it may be wrong.
//!
//! `LOOPMON_STRESS=12500 cargo test --release --features stack --lib doubts` is the long form: it takes
//! that many stacks for each kind of work.
#![allow(unsafe_code, reason = "some of what is interrupted is C code")]

mod without_tables;

use std::ffi::c_void;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::AtomicUsize;

use super::super::capture::thread_state;
use super::*;

static BEATS: AtomicUsize = AtomicUsize::new(0);

fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

#[inline(never)]
fn chain_c(work: fn()) {
    work();
    beat();
}

#[inline(never)]
fn chain_b(work: fn()) {
    chain_c(work);
    beat();
}

#[inline(never)]
fn chain_a(until: &AtomicBool, begun: &AtomicBool, work: fn()) {
    while !until.load(Ordering::Relaxed) {
        begun.store(true, Ordering::Relaxed);
        chain_b(work);
    }
    beat();
}

/// Whether each link of the chain, from where the thread is, is there once and in order.
fn is_right(trace: &StackTrace) -> bool {
    const LINKS: [&str; 3] = ["chain_c", "chain_b", "chain_a"];
    let names = trace.frames().iter().filter_map(Frame::function);
    let links = names.filter_map(|name| LINKS.into_iter().find(|link| name.ends_with(link)));
    let links: Vec<_> = links.collect();
    !links.is_empty() && LINKS.ends_with(&links)
}

fn is_flagged(trace: &StackTrace) -> bool {
    trace.is_truncated()
        || trace.is_scanned()
        || trace.has_guessed_frame_pointer()
        || trace.is_unwinding()
}

fn asked(id: u32) -> Result<Image, NoStack> {
    by_signal(Target { proc_id: id, id }, &StackCapture::new())
}

fn read(stack: Result<Image, NoStack>, resolver: &mut Resolver) -> StackTrace {
    resolver.resolve(Capture {
        stack,
        thread_state: thread_state(Thread(own_id().unwrap())),
        capture_time: Duration::ZERO,
        own: StackCapture::new().own,
    })
}

/// Returns how many stacks were taken, and how many of these have a doubt.
#[track_caller]
fn none_is_wrong(work: fn()) -> (usize, usize) {
    let subjects = [(); 2].map(|()| {
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let subject = Subject::start(move |until| chain_a(until, &begins, work));
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        subject
    });
    let rounds = std::env::var("LOOPMON_STRESS").map_or(100, |rounds| rounds.parse().unwrap());
    let mut resolver = Resolver::default();
    let (mut seen, mut flagged) = (0, 0);
    for _ in 0..rounds {
        // The thread got no CPU in time.
        let Ok(stack) = asked(subjects[0].id) else {
            continue;
        };
        let trace = read(Ok(stack), &mut resolver);
        seen += 1;
        flagged += usize::from(is_flagged(&trace));
        assert!(is_right(&trace) || is_flagged(&trace), "{trace:#}");
    }
    for subject in subjects {
        subject.end();
    }
    println!("{seen} of {rounds} seen, {flagged} with a doubt");
    (seen, flagged)
}

extern "C" fn compare(left: *const c_void, right: *const c_void) -> i32 {
    let [left, right] = [left, right].map(|number| {
        // SAFETY: `sorts` passes pointers to such numbers.
        unsafe { *number.cast::<i32>() }
    });
    left.cmp(&right) as i32
}

fn sorts() {
    let mut numbers = [5, 3, 9, 1, 2, 8, 7, 4, 0, 6];
    let (start, count) = (numbers.as_mut_ptr().cast(), numbers.len());
    // SAFETY: the count and the size are those of the array.
    unsafe { libc::qsort(start, count, size_of::<i32>(), Some(compare)) };
    black_box(numbers);
}

fn allocates() {
    for size in [16, 200, 5_000, 140_000] {
        black_box(vec![1_u8; size]);
    }
}

#[track_caller]
fn assert_few(flagged: usize, seen: usize) {
    let are_few = flagged * 10 <= seen;
    assert!(are_few || !C_LIBRARY_HAS_TABLES, "{flagged} of {seen}");
}

#[test]
fn while_it_allocates() {
    let (seen, flagged) = none_is_wrong(allocates);
    assert_few(flagged, seen);
}

#[test]
fn while_it_panics() {
    none_is_wrong(panics);
}

#[test]
fn while_it_loads_a_library() {
    none_is_wrong(|| loads_a_library(|| ()));
}

#[test]
fn while_it_loads_a_library_and_panics() {
    none_is_wrong(|| loads_a_library(panics));
}

#[test]
fn while_it_starts_threads() {
    none_is_wrong(|| {
        let thread = thread::Builder::new().stack_size(64 << 10).spawn(beat);
        thread.unwrap().join().unwrap();
    });
}

#[test]
fn while_it_is_in_the_c_library() {
    let (seen, flagged) = none_is_wrong(sorts);
    assert_few(flagged, seen);
}

#[test]
fn while_it_formats() {
    none_is_wrong(|| {
        let mut text = String::new();
        write!(text, "{:?} {}", Some(3.5), black_box("x")).unwrap();
        black_box(text);
    });
}

static HANDLED: AtomicBool = AtomicBool::new(false);

extern "C" fn handles_by_name(_: i32) {
    while !HANDLED.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn raises_by_name() {
    // SAFETY: the handler only reads an atomic.
    unsafe { libc::signal(libc::SIGUSR1, handles_by_name as *const () as usize) };
    // SAFETY: it is handled.
    unsafe { libc::raise(libc::SIGUSR1) };
    beat();
}

#[test]
fn inside_of_a_handler_what_it_has_interrupted_is_shown() {
    let subject = Subject::start(|_| raises_by_name());
    let traces = std::iter::repeat_with(|| read(asked(subject.id), &mut Resolver::default()));
    let is_in = |trace: &StackTrace, function| {
        let mut names = trace.frames().iter().filter_map(Frame::function);
        names.any(|name| name.ends_with(function))
    };
    let trace = traces
        .into_iter()
        .find(|trace| is_in(trace, "handles_by_name"));
    let trace = trace.unwrap();
    assert!(
        is_in(&trace, "raises_by_name") && (!is_flagged(&trace) || !C_LIBRARY_HAS_TABLES),
        "{trace:#}"
    );
    HANDLED.store(true, Ordering::Relaxed);
    subject.end();
}
