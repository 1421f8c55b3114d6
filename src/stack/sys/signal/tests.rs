//! What becomes of signals that are not ours, and of ours that do not come through.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// Each test has a signal of its own.
fn ask(signal: c_int) -> Ask {
    Ask {
        signal,
        shared: false,
        patience: PATIENCE,
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
            told.send(current_thread()).unwrap();
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

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    CALLS.fetch_add(1, Ordering::SeqCst);
}

fn set(signal: c_int, function: libc::sighandler_t) {
    // SAFETY: what is set does nothing but count.
    let before = unsafe { libc::signal(signal, function) };
    assert_ne!(before, libc::SIG_ERR);
}

fn mask(how: c_int, signal: c_int) {
    let set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: it is made of integers.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: as above; the former mask is not asked for.
    let masked = unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
    assert_eq!(masked, 0);
}

#[test]
fn a_signal_that_the_program_handles_is_left_to_it() {
    const SIGNAL: c_int = 50;
    let spinner = Spinner::start();
    set(SIGNAL, count as *const () as usize);
    let asked = ask(SIGNAL).ask(spinner.id, Question::new(None, 0));
    assert!(matches!(asked, Asked::Refused(Refusal::Taken)), "{asked:?}");
}

#[test]
fn a_signal_that_is_shared_goes_to_both() {
    const SIGNAL: c_int = 51;
    let spinner = Spinner::start();
    set(SIGNAL, count as *const () as usize);
    let shared = Ask {
        shared: true,
        ..ask(SIGNAL)
    };
    let asked = shared.ask(spinner.id, Question::new(None, 0));
    assert!(matches!(asked, Asked::Answered(_)), "{asked:?}");
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    assert!(send(current_thread(), SIGNAL));
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[test]
fn a_handler_that_replaces_ours_is_not_fought() {
    const SIGNAL: c_int = 52;
    let spinner = Spinner::start();
    let shared = Ask {
        shared: true,
        ..ask(SIGNAL)
    };
    let asked = shared.ask(spinner.id, Question::new(None, 0));
    assert!(matches!(asked, Asked::Answered(_)), "{asked:?}");
    set(SIGNAL, count as *const () as usize);
    let asked = shared.ask(spinner.id, Question::new(None, 0));
    assert!(matches!(asked, Asked::Refused(Refusal::Taken)), "{asked:?}");
}

#[test]
fn a_thread_that_masks_the_signal_answers_no_later_question() {
    const SIGNAL: c_int = 53;
    let (go_on, may_go_on) = mpsc::channel();
    let (told, id) = mpsc::channel();
    let masking = thread::Builder::new().spawn(move || {
        mask(libc::SIG_BLOCK, SIGNAL);
        told.send(current_thread()).unwrap();
        may_go_on.recv().unwrap();
        mask(libc::SIG_UNBLOCK, SIGNAL);
    });
    let short = Ask {
        patience: Duration::from_millis(20),
        ..ask(SIGNAL)
    };
    let asked = short.ask(id.recv().unwrap(), Question::new(None, 0));
    assert!(matches!(asked, Asked::NoAnswer), "{asked:?}");
    // The late signal comes while another thread is asked.
    go_on.send(()).unwrap();
    let spinner = Spinner::start();
    for _ in 0..100 {
        let asked = ask(SIGNAL).ask(spinner.id, Question::new(None, 0));
        assert!(matches!(asked, Asked::Answered(_)), "{asked:?}");
    }
    masking.unwrap().join().unwrap();
}

#[test]
fn what_cannot_be_handled_is_denied() {
    let asked = ask(libc::SIGKILL).ask(current_thread(), Question::new(None, 0));
    assert!(
        matches!(asked, Asked::Refused(Refusal::Denied)),
        "{asked:?}"
    );
    let asked = ask(99).ask(current_thread(), Question::new(None, 0));
    assert!(
        matches!(asked, Asked::Refused(Refusal::Denied)),
        "{asked:?}"
    );
}

#[test]
fn the_interrupted_code_keeps_its_error_number() {
    const SIGNAL: c_int = 54;
    let memory = File::open("/dev/null").unwrap();
    set_error_number(libc::EXDEV);
    // Answered on this thread, at once; reading fails, as the file is not one of memory.
    let asked = ask(SIGNAL).ask(current_thread(), Question::new(Some(memory), 8));
    let error = error_number();
    let Asked::Answered(answer) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(answer.filled, 0);
    assert_eq!(error, libc::EXDEV);
}
