//! What happens to signals that are not ours, and to ours that are not handled in time.

mod programs_handler;
mod room;

use std::fs::File;
use std::hint;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use allocation_counter::measure;

use super::super::alternate;
use super::super::handler::Registers;
use super::super::raw::own_id;
use super::super::threads::introduce;
use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Each test uses another signal.
fn signal(number: c_int) -> Signal {
    Signal {
        number,
        shared: false,
        until: clock::now() + TIMEOUT,
    }
}

/// A thread that runs until it is dropped.
struct Spinner {
    id: u32,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    fn start() -> Spinner {
        let ends = Arc::new(AtomicBool::new(false));
        let (told, id) = mpsc::channel();
        let until = Arc::clone(&ends);
        let spawned = thread::Builder::new().spawn(move || {
            introduce();
            told.send(own_id()).unwrap();
            while !until.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        });
        Spinner {
            id: id.recv().unwrap(),
            ends,
            thread: Some(spawned.unwrap()),
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Returns the calling thread, which answers before anybody waits.
fn here() -> u32 {
    introduce();
    own_id()
}

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    CALLS.fetch_add(1, Ordering::SeqCst);
}

fn set(signal: c_int, function: libc::sighandler_t) {
    // SAFETY: the handlers that the tests set only count.
    let before = unsafe { libc::signal(signal, function) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Installs a handler with these flags.
fn set_with(signal: c_int, flags: c_int, function: extern "C" fn(c_int)) {
    let action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it is made of integers, and of an address that may be null.
    let mut action = unsafe { action.assume_init() };
    action.sa_sigaction = function as *const () as usize;
    action.sa_flags = flags;
    assert!(install(signal, &action).is_some());
}

fn mask(how: c_int, signal: c_int) {
    let set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: it is made of integers.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: as above; the former mask is not wanted.
    let masked = unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
    assert_eq!(masked, 0);
}

/// A thread that masks a signal until it may go on.
struct Masking {
    id: u32,
    go_on: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Masking {
    fn start(signal: c_int) -> Masking {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (told, id) = mpsc::channel();
        let spawned = thread::Builder::new().spawn(move || {
            introduce();
            mask(libc::SIG_BLOCK, signal);
            told.send(own_id()).unwrap();
            may_go_on.recv().unwrap_err();
            mask(libc::SIG_UNBLOCK, signal);
        });
        Masking {
            id: id.recv().unwrap(),
            go_on,
            thread: spawned.unwrap(),
        }
    }

    fn end(self) {
        drop(self.go_on);
        self.thread.join().unwrap();
    }
}

#[test]
fn no_signal_is_sent_when_there_is_no_time_left() {
    const SIGNAL: c_int = 58;
    let late = Signal {
        until: clock::now(),
        ..signal(SIGNAL)
    };
    // This thread would have answered before the clock is read again.
    let reply = late.ask(here(), Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::NoAnswer);
}

/// Tokio allocates its thread-local state when it is first asked, which `introduce` does.
#[test]
fn a_thread_that_has_introduced_itself_answers_without_allocating() {
    let allocates = || {
        introduce();
        let mut question = Question::new(None, 0);
        measure(|| question.answer(Registers::default())).count_total
    };
    let answering = thread::Builder::new().spawn(allocates).unwrap();
    assert_eq!(answering.join().unwrap(), 0);
}

#[test]
fn a_handler_that_replaces_ours_is_not_fought() {
    const SIGNAL: c_int = 52;
    let spinner = Spinner::start();
    let shared = Signal {
        shared: true,
        ..signal(SIGNAL)
    };
    let reply = shared.ask(spinner.id, Question::new(None, 0));
    assert!(reply.is_ok(), "{reply:?}");
    set(SIGNAL, count as *const () as usize);
    let reply = shared.ask(spinner.id, Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::SignalTaken);
}

#[test]
fn a_thread_that_masks_the_signal_answers_no_later_question() {
    const SIGNAL: c_int = 53;
    let masking = Masking::start(SIGNAL);
    let short = Signal {
        until: clock::now() + Duration::from_millis(20),
        ..signal(SIGNAL)
    };
    let reply = short.ask(masking.id, Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::NoAnswer);
    // The late signal is delivered while another thread is asked.
    drop(masking.go_on);
    let spinner = Spinner::start();
    for _ in 0..100 {
        let reply = signal(SIGNAL).ask(spinner.id, Question::new(None, 0));
        assert!(reply.is_ok(), "{reply:?}");
    }
    masking.thread.join().unwrap();
}

#[test]
fn a_question_that_is_left_is_answered_late() {
    const SIGNAL: c_int = 63;
    let masking = Masking::start(SIGNAL);
    let short = || Signal {
        until: clock::now() + Duration::from_millis(1),
        ..signal(SIGNAL)
    };
    // Other tests may be asking, or have left questions in all slots.
    let question = || Question::new(None, 0);
    let ask = || short().ask(masking.id, question()).unwrap_err().left;
    let left = || std::iter::repeat_with(ask).find_map(|left| left).unwrap();
    let both = [left(), left()];
    assert!(both.iter().all(|left| left.answer().is_none()));
    masking.end();
    assert!(both.iter().all(|left| left.answer().is_some()));
    assert!(both.iter().all(|left| left.answer().is_none()));
}

#[test]
fn questions_that_are_left_leave_room_for_the_next() {
    const SIGNAL: c_int = 47;
    let masking = Masking::start(SIGNAL);
    let short = || Signal {
        until: clock::now() + Duration::from_millis(1),
        ..signal(SIGNAL)
    };
    let question = || Question::new(None, 0);
    let left = || short().ask(masking.id, question()).unwrap_err().left;
    let many: Vec<_> = std::iter::repeat_with(left).take(2 * SLOTS.len()).collect();
    let reply = signal(SIGNAL).ask(here(), Question::new(None, 0));
    assert!(reply.is_ok(), "{reply:?}");
    drop(many);
    masking.end();
}

#[test]
fn what_cannot_be_handled_is_denied() {
    let reply = signal(libc::SIGKILL).ask(here(), Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::SignalsOff);
    let reply = signal(99).ask(here(), Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::SignalsOff);
}

#[test]
fn the_interrupted_code_keeps_its_error_number() {
    const SIGNAL: c_int = 54;
    let memory = File::open("/dev/null").unwrap();
    let thread = here();
    // SAFETY: it returns the place of this thread's own.
    let number = unsafe { libc::__errno_location() };
    // SAFETY: the place is valid for as long as the thread lives.
    unsafe { *number = libc::EXDEV };
    // This thread answers at once. Reading fails, as the file is not one of memory.
    let reply = signal(SIGNAL).ask(thread, Question::new(Some(memory), 8));
    // SAFETY: as above.
    let error = unsafe { *number };
    assert_eq!(reply.unwrap().filled, 0);
    assert_eq!(error, libc::EXDEV);
}

#[test]
fn a_thread_that_has_not_introduced_itself_is_not_asked() {
    const SIGNAL: c_int = 59;
    let (told, id) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let stranger = thread::Builder::new().spawn(move || {
        told.send(own_id()).unwrap();
        may_go_on.recv().unwrap();
    });
    let id = id.recv().unwrap();
    let reply = signal(SIGNAL).ask(id, Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::NoRoom);
    go_on.send(()).unwrap();
    stranger.unwrap().join().unwrap();
    let reply = signal(SIGNAL).ask(u32::MAX >> 1, Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::Moved);
}

#[test]
fn an_unused_signal_is_handled_undisturbed_and_on_the_alternate_stack() {
    let free = action(60).unwrap();
    let ours = ours_instead_of(&free);
    assert_eq!(ours.sa_flags & libc::SA_ONSTACK, libc::SA_ONSTACK);
    // SAFETY: the set is valid.
    let masks = |signal| unsafe { libc::sigismember(&raw const ours.sa_mask, signal) } == 1;
    // The C library keeps some to itself.
    assert!((1..=64).all(|signal| masks(signal) || matches!(signal, 32..35)));
    // The program's handler is called as before.
    set_with(60, libc::SA_RESTART, count);
    let ours = ours_instead_of(&action(60).unwrap());
    assert_eq!(ours.sa_flags & libc::SA_ONSTACK, 0);
    // SAFETY: as above.
    let masks = |signal| unsafe { libc::sigismember(&raw const ours.sa_mask, signal) } == 1;
    assert!(!(1..=64).any(masks));
}
