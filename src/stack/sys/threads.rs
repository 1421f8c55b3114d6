//! What a thread does before it may be asked.

use std::cell::RefCell;
use std::hint;
use std::sync::atomic::{Ordering, compiler_fence};

use tokio::{runtime, task};

use super::alternate::{self, AlternateStack};
use super::handler::{self, RUNS_TOKIO};
use super::raw;
use super::thread_set::ThreadSet;

/// The threads that have introduced themselves and live. Further ones are not asked.
static READY: ThreadSet<4096> = ThreadSet::new();

thread_local! {
    /// The handler does not use it.
    static REGISTRATION: RefCell<Registration> = const { RefCell::new(Registration::NONE) };
}

/// What a thread that may be asked holds until it ends.
#[derive(Debug)]
struct Registration {
    /// The thread's id, and its place in the set.
    entry: Option<(u32, usize)>,
    stack: Option<AlternateStack>,
}

/// Prepares the calling thread, on which Tokio runs, to be asked what it runs and for its stack. If its
/// alternate stack is too small, it gets a larger one until it ends.
///
/// Call it again whenever the thread is observed: the program may have set another stack meanwhile.
pub(crate) fn introduce() {
    if handler::is_in_main_program() {
        // Fails only while the thread ends.
        REGISTRATION
            .try_with(|registration| registration.borrow_mut().renew())
            .ok();
    }
}

/// Whether the thread of this id has introduced itself, lives, and has room for the handler.
pub(super) fn is_ready(thread: u32) -> bool {
    READY.contains(thread)
}

impl Registration {
    const NONE: Registration = Registration {
        entry: None,
        stack: None,
    };

    fn renew(&mut self) {
        let thread = raw::own_id();
        if self.entry.is_some_and(|(known, _)| known != thread) {
            // The process has forked: this is its child.
            self.end();
        }
        if !alternate::has_room() {
            if self.stack.is_some() {
                // The program has replaced ours on purpose.
                self.end();
                return;
            }
            self.stack = AlternateStack::install();
            if self.stack.is_none() {
                return;
            }
        }
        if self.entry.is_none() {
            // Tokio sets up its thread-local state when it is asked first. That allocates, so it must
            // happen before the handler asks.
            hint::black_box((runtime::worker_index(), task::try_id()));
            compiler_fence(Ordering::SeqCst);
            RUNS_TOKIO.set(true);
            self.entry = READY.insert(thread).map(|place| (thread, place));
        }
    }

    fn end(&mut self) {
        if let Some((_, place)) = self.entry.take() {
            READY.remove(place);
        }
        RUNS_TOKIO.set(false);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::Duration;

    use super::super::handler::Question;
    use super::super::signal::Signal;
    use super::*;
    use crate::clock;
    use crate::stack::trace::NoStack;

    /// When the signal is sent, nobody knows that the id was another thread's.
    #[test]
    fn a_thread_that_has_the_id_of_one_that_was_meant_does_not_answer_for_it() {
        let other = thread::Builder::new().spawn(|| {
            let place = READY.insert(raw::own_id()).unwrap();
            let signal = Signal {
                number: 49,
                shared: false,
                until: clock::now() + Duration::from_secs(5),
            };
            let reply = signal.ask(raw::own_id(), Question::new(None, 0));
            READY.remove(place);
            reply
        });
        let reply = other.unwrap().join().unwrap();
        assert_eq!(reply.unwrap_err().reason, NoStack::Moved);
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
    fn a_thread_whose_alternate_stack_was_replaced_by_a_small_one_is_not_asked() {
        let replaces = thread::Builder::new().spawn(|| {
            // Whatever it had before, from here on it has ours.
            alternate::tests::on_a_small_one(|| {
                introduce();
                assert!(is_ready(raw::own_id()));
                alternate::tests::on_a_small_one(introduce);
                assert!(!is_ready(raw::own_id()));
                assert!(!RUNS_TOKIO.get());
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
        // Other tests run meanwhile. Each leaked stack, with its guard page, would be two mappings.
        assert!(mappings() < before + 400);
    }
}
