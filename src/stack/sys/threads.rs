//! What is done on a thread before it may be asked.

use std::cell::{Cell, RefCell};
use std::hint;
use std::sync::atomic::{Ordering, compiler_fence};

use tokio::{runtime, task};

use super::alternate::{self, AlternateStack};
use super::program;
use super::raw;
use super::roll::Roll;

/// Those that have introduced themselves and live. More than these are not asked.
static READY: Roll<4096> = Roll::new();

thread_local! {
    /// Tokio has run on this thread, so that to ask it sets nothing up. Has no destructor, and lies in
    /// the block of the main program, so that the handler may look at it.
    static RUNS_TOKIO: Cell<bool> = const { Cell::new(false) };

    /// Not for the handler.
    static PRESENCE: RefCell<Presence> = const { RefCell::new(Presence::NONE) };
}

/// What a thread that may be asked holds until it ends.
#[derive(Debug)]
struct Presence {
    /// Its number, and its place on the roll.
    entry: Option<(u32, usize)>,
    stack: Option<AlternateStack>,
}

/// Prepares the calling thread, on which Tokio runs, to be asked what it runs and for its stack: it gets
/// an alternate stack that is large enough, if it has none, until it ends.
///
/// To be called again whenever the thread is met: the program may have set another stack meanwhile.
pub(crate) fn introduce() {
    if program::is_main() {
        // Fails only while the thread ends.
        PRESENCE
            .try_with(|presence| presence.borrow_mut().renew())
            .ok();
    }
}

/// Whether the thread of this number has introduced itself, lives, and has room for the handler.
pub(super) fn is_ready(thread: u32) -> bool {
    READY.has(thread)
}

/// For the handler.
pub(super) fn runs_tokio() -> bool {
    RUNS_TOKIO.get()
}

impl Presence {
    const NONE: Presence = Presence {
        entry: None,
        stack: None,
    };

    fn renew(&mut self) {
        let thread = raw::own_id();
        if self.entry.is_some_and(|(known, _)| known != thread) {
            // A child of the process that it was.
            self.leave();
        }
        if !alternate::has_room() {
            if self.stack.is_some() {
                // The program has set another, and means it.
                self.leave();
                return;
            }
            self.stack = AlternateStack::install();
            if self.stack.is_none() {
                return;
            }
        }
        if self.entry.is_none() {
            // Tokio sets up what it keeps for each thread when it is asked first. That allocates, so
            // it has to be done before the handler asks.
            hint::black_box((runtime::worker_index(), task::try_id()));
            compiler_fence(Ordering::SeqCst);
            RUNS_TOKIO.set(true);
            self.entry = READY.enter(thread).map(|place| (thread, place));
        }
    }

    fn leave(&mut self) {
        if let Some((_, place)) = self.entry.take() {
            READY.leave(place);
        }
        RUNS_TOKIO.set(false);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::Duration;

    use super::super::handler::Question;
    use super::super::signal::{Ask, Asked};
    use super::*;
    use crate::clock;

    /// Nobody knows that the number was another thread's when the signal is sent.
    #[test]
    fn a_thread_that_has_the_number_of_one_that_was_meant_does_not_answer_for_it() {
        let other = thread::Builder::new().spawn(|| {
            let place = READY.enter(raw::own_id()).unwrap();
            let ask = Ask {
                signal: 49,
                shared: false,
                until: clock::now() + Duration::from_secs(5),
            };
            let asked = ask.ask(raw::own_id(), Question::new(None, 0));
            READY.leave(place);
            asked
        });
        let asked = other.unwrap().join().unwrap();
        assert!(matches!(asked, Asked::Gone), "{asked:?}");
    }

    #[test]
    fn a_thread_is_ready_from_when_it_says_so_until_it_ends() {
        let says_so = thread::Builder::new().spawn(|| {
            assert!(!is_ready(raw::own_id()));
            introduce();
            introduce();
            assert!(is_ready(raw::own_id()));
            raw::own_id()
        });
        assert!(!is_ready(says_so.unwrap().join().unwrap()));
    }

    #[test]
    fn a_thread_whose_stack_for_handlers_was_replaced_by_a_small_one_is_not_asked() {
        let replaces = thread::Builder::new().spawn(|| {
            // Whatever it had before, from here on it has ours.
            alternate::tests::on_a_small_one(|| {
                introduce();
                assert!(is_ready(raw::own_id()));
                alternate::tests::on_a_small_one(introduce);
                assert!(!is_ready(raw::own_id()));
                assert!(!runs_tokio());
                introduce();
                assert!(is_ready(raw::own_id()));
            });
        });
        replaces.unwrap().join().unwrap();
    }

    #[test]
    fn threads_that_have_ended_leave_nothing_behind() {
        let mappings = || {
            fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count()
        };
        let before = mappings();
        for _ in 0..500 {
            let spawned = thread::Builder::new().spawn(introduce);
            spawned.unwrap().join().unwrap();
        }
        // Other tests run meanwhile. Each stack and its guard would be two.
        assert!(mappings() < before + 400);
    }
}
