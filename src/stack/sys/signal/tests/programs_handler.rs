//! Beside a handler of the program's own.

use super::*;

#[test]
fn a_signal_that_the_program_handles_is_left_to_it() {
    const SIGNAL: c_int = 50;
    let spinner = Spinner::start();
    set(SIGNAL, count as *const () as usize);
    let reply = signal(SIGNAL).ask(spinner.id, Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::SignalTaken);
}

#[test]
fn a_signal_that_is_shared_goes_to_both() {
    const SIGNAL: c_int = 51;
    let spinner = Spinner::start();
    set(SIGNAL, count as *const () as usize);
    let shared = Signal {
        shared: true,
        ..signal(SIGNAL)
    };
    let reply = shared.ask(spinner.id, Question::new(None, 0));
    assert!(reply.is_ok(), "{reply:?}");
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    send(own_id(), SIGNAL).unwrap();
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[test]
fn a_handler_that_would_notice_is_not_shared_with() {
    const SIGNAL: c_int = 55;
    let shared = Signal {
        shared: true,
        ..signal(SIGNAL)
    };
    for flags in [
        0,
        libc::SA_ONSTACK,
        libc::SA_RESTART | libc::SA_RESETHAND,
        libc::SA_RESTART | libc::SA_NODEFER,
    ] {
        set_with(SIGNAL, flags, count);
        let reply = shared.ask(here(), Question::new(None, 0));
        assert_eq!(reply.unwrap_err().reason, NoStack::SignalTaken);
    }
}

#[test]
fn a_large_handler_is_called_on_the_stack_that_it_was_made_for() {
    /// Rust's alternate stack is smaller.
    extern "C" fn large(_: c_int) {
        let bytes = hint::black_box([1_u8; 256 * 1024]);
        LARGE.fetch_add(u32::from(bytes[7]), Ordering::SeqCst);
    }
    static LARGE: AtomicU32 = AtomicU32::new(0);
    const SIGNAL: c_int = 56;
    let shared = Signal {
        shared: true,
        ..signal(SIGNAL)
    };
    set_with(SIGNAL, libc::SA_RESTART, large);
    let reply = shared.ask(here(), Question::new(None, 0));
    assert!(reply.is_ok(), "{reply:?}");
    send(own_id(), SIGNAL).unwrap();
    assert_eq!(LARGE.load(Ordering::SeqCst), 1);
}

#[test]
fn a_handler_that_the_program_has_removed_is_called_no_more() {
    extern "C" fn removed(_: c_int) {
        REMOVED.fetch_add(1, Ordering::SeqCst);
    }
    static REMOVED: AtomicU32 = AtomicU32::new(0);
    const SIGNAL: c_int = 57;
    let shared = Signal {
        shared: true,
        ..signal(SIGNAL)
    };
    set_with(SIGNAL, libc::SA_RESTART, removed);
    let reply = shared.ask(here(), Question::new(None, 0));
    assert!(reply.is_ok(), "{reply:?}");
    set(SIGNAL, libc::SIG_IGN);
    let reply = shared.ask(here(), Question::new(None, 0));
    assert_eq!(reply.unwrap_err().reason, NoStack::SignalTaken);
    send(own_id(), SIGNAL).unwrap();
    assert_eq!(REMOVED.load(Ordering::SeqCst), 0);
}
