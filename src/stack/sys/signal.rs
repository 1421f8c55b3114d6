//! Installs the handler, sends the signal, and waits for the answer.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::handler::{self, BEFORE, Question, SLOTS};
use super::slot::{Address, Slot};
use super::threads;
use crate::clock;
use crate::stack::trace::NoStack;

/// How often the asking thread checks for an answer.
const POLL_INTERVAL: Duration = Duration::from_micros(20);

/// Lets one thread ask at a time.
static ASKING: Mutex<()> = Mutex::new(());

/// Sends nothing; the call only shows whether the thread lives.
const NO_SIGNAL: c_int = 0;

/// The signal that a thread is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Signal {
    pub(in super::super) number: c_int,
    /// Whether to use the signal even if the program handles it.
    pub(in super::super) shared: bool,
    /// Ends the wait for an answer.
    pub(in super::super) until: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub(in super::super) struct Unanswered {
    pub(in super::super) reason: NoStack,
    /// The question, if it waits for the thread.
    pub(in super::super) left: Option<LeftQuestion>,
}

impl From<NoStack> for Unanswered {
    fn from(reason: NoStack) -> Unanswered {
        Unanswered { reason, left: None }
    }
}

/// A question that its thread has not answered in time. While the signal is pending and not masked, the thread has not
/// been back from the system call in which the signal has found it, or has got no CPU. It answers before it does
/// anything else, so the answer shows what it did when it was asked. Dropping this withdraws the question.
pub(in super::super) struct LeftQuestion {
    slot: &'static Slot<Question>,
    address: Address,
}

impl LeftQuestion {
    /// Takes the answer, if there is one by now.
    pub(in super::super) fn answer(&self) -> Option<Question> {
        self.any_answer().and_then(meant)
    }

    fn any_answer(&self) -> Option<Question> {
        self.slot.collect(self.address)
    }
}

impl Drop for LeftQuestion {
    fn drop(&mut self) {
        drop(self.slot.withdraw(self.address));
    }
}

impl fmt::Debug for LeftQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeftQuestion({:?})", self.address)
    }
}

impl Signal {
    /// Asks a thread, by its id for system calls. Returns the answered question, or why there is no answer.
    pub(in super::super) fn ask(
        self,
        thread: u32,
        question: Question,
    ) -> Result<Question, Unanswered> {
        let _asking = self.lock().ok_or(NoStack::NoAnswer)?;
        if !handler::is_in_main_program() {
            return Err(NoStack::InLibrary.into());
        }
        if !threads::is_ready(thread) {
            send(thread, NO_SIGNAL)?;
            return Err(NoStack::NoRoom.into());
        }
        self.ensure_handled()?;
        if clock::now() >= self.until {
            // No time is left for an answer.
            return Err(NoStack::NoAnswer.into());
        }
        let left = self.leave(thread, question).ok_or(NoStack::NoAnswer)?;
        send(thread, self.number)?;
        let answer = self.wait(left)?;
        meant(answer).ok_or(NoStack::Moved.into())
    }

    /// Waits for another watchdog that asks, as in tests. It stops waiting in time, as after a fork the
    /// thread that held the lock may not exist in the child.
    fn lock(self) -> Option<MutexGuard<'static, ()>> {
        loop {
            match ASKING.try_lock() {
                Ok(asking) => return Some(asking),
                Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
                Err(TryLockError::WouldBlock) if clock::now() >= self.until => return None,
                Err(TryLockError::WouldBlock) => sleep(POLL_INTERVAL),
            }
        }
    }

    fn wait(self, left: LeftQuestion) -> Result<Question, Unanswered> {
        loop {
            let is_over = clock::now() >= self.until;
            if let Some(answer) = left.any_answer() {
                return Ok(answer);
            }
            if is_over {
                // The next question wants a slot, and the program its own signals.
                let may_stay = self.is_ours_alone() && SLOTS.iter().any(Slot::is_empty);
                return Err(Unanswered {
                    reason: NoStack::NoAnswer,
                    left: may_stay.then_some(left),
                });
            }
            sleep(POLL_INTERVAL);
        }
    }

    /// Whether the program had no handler for the signal when ours was installed.
    pub(in super::super) fn is_ours_alone(self) -> bool {
        let before = usize::try_from(self.number)
            .ok()
            .and_then(|number| BEFORE.get(number)?.get());
        before.is_some_and(|before| !is_handled(before))
    }

    /// Leaves a question in a slot. Returns `None` if there is none, as handlers that have got no CPU since are
    /// answering.
    fn leave(self, thread: u32, question: Question) -> Option<LeftQuestion> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static PROCESS: AtomicU32 = AtomicU32::new(0);
        let address = Address {
            thread,
            signal: u8::try_from(self.number).ok()?,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        };
        let process = std::process::id();
        if PROCESS.swap(process, Ordering::Relaxed) != process {
            // The process has forked: in this child, those who asked are gone.
            SLOTS.iter().for_each(|slot| drop(slot.evict()));
        }
        let slot = SLOTS.iter().find(|slot| slot.is_empty())?;
        slot.ask(address, question).ok()?;
        Some(LeftQuestion { slot, address })
    }

    /// Installs the handler, or checks that it is still installed.
    fn ensure_handled(self) -> Result<(), NoStack> {
        let before = usize::try_from(self.number)
            .ok()
            .and_then(|number| BEFORE.get(number));
        let (Some(before), Some(current)) = (before, action(self.number)) else {
            return Err(NoStack::SignalsOff);
        };
        if is_ours(&current) {
            return Ok(());
        }
        // Whatever has replaced our handler stays: the two must not fight for the signal.
        let is_free = !is_handled(&current) || (self.shared && can_be_shared(&current));
        if before.get().is_some() || !is_free {
            return Err(NoStack::SignalTaken);
        }
        // Set before our handler is installed, which may get a signal of the program's at once.
        let before = before.get_or_init(|| current);
        let replaced = install(self.number, &ours_instead_of(before)).ok_or(NoStack::SignalsOff)?;
        if (replaced.sa_sigaction, replaced.sa_flags) == (before.sa_sigaction, before.sa_flags) {
            return Ok(());
        }
        // The program has just installed another handler.
        install(self.number, &replaced);
        Err(NoStack::SignalTaken)
    }
}

/// Without Tokio, it is another thread that has answered, which has the id of the one that was meant and has ended.
fn meant(answer: Question) -> Option<Question> {
    answer.runs_tokio.then_some(answer)
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handler::handler as *const () as usize
}

fn action(signal: c_int) -> Option<libc::sigaction> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: without a new action, the call only writes the current one to the given place.
    let read = unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) };
    // SAFETY: the call has written it.
    (read == 0).then(|| unsafe { current.assume_init() })
}

fn is_handled(action: &libc::sigaction) -> bool {
    action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN
}

/// Whether the program's handler runs the same when ours calls it as when the kernel does. A handler without
/// SA_RESTART may be meant to interrupt calls, which ours must not do.
fn can_be_shared(action: &libc::sigaction) -> bool {
    let expected = libc::SA_RESTART;
    action.sa_flags & (expected | libc::SA_RESETHAND | libc::SA_NODEFER) == expected
}

fn ours_instead_of(before: &libc::sigaction) -> libc::sigaction {
    let mut ours = *before;
    ours.sa_sigaction = handler::handler as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    if is_handled(before) {
        // The program's handler is called as before: under its mask, and on its kind of stack.
        ours.sa_flags |= before.sa_flags & libc::SA_ONSTACK;
    } else {
        // The thread may have little left of its own stack. The full mask keeps a profiler's handler,
        // which expects a whole stack, from running on top of ours.
        ours.sa_flags |= libc::SA_ONSTACK;
        // SAFETY: the set is valid, and the call overwrites it.
        unsafe { libc::sigfillset(&raw mut ours.sa_mask) };
    }
    ours
}

/// Returns the action that was replaced, or `None` if the system refuses the new one.
fn install(signal: c_int, action: &libc::sigaction) -> Option<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: our handler has the signature that SA_SIGINFO asks for, is part of the main program, which
    // is never unloaded, and keeps to the rules in `sys`. Any other action is the program's own, put back
    // as it was.
    let installed = unsafe { libc::sigaction(signal, action, before.as_mut_ptr()) };
    // SAFETY: the call has written it.
    (installed == 0).then(|| unsafe { before.assume_init() })
}

/// Sends a signal. `NO_SIGNAL` only checks that the thread lives.
fn send(thread: u32, signal: c_int) -> Result<(), NoStack> {
    let process = std::process::id();
    // SAFETY: the call takes three integers. The handler is installed. The id of the process keeps the
    // signal from a thread of another process that may have this id by now. If another thread of this
    // process has it, the handler detects that, and runs there as safely as on any thread.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    if sent == 0 {
        return Ok(());
    }
    Err(match io::Error::last_os_error().raw_os_error() {
        Some(libc::ESRCH) => NoStack::Moved,
        _ => NoStack::SignalsOff,
    })
}

#[cfg(test)]
mod tests;
