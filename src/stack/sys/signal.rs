//! How the signal is taken into use and sent.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::handler::{BEFORE, Question, SLOT, handler};
use super::{program, threads};
use crate::clock;

/// How often an answer is looked for.
const LOOK_INTERVAL: Duration = Duration::from_micros(20);

/// Whoever holds it may ask.
static ASKING: Mutex<()> = Mutex::new(());

/// Sent, it only shows whether there is somebody to be sent one.
const NO_SIGNAL: c_int = 0;

/// How asking ended.
#[derive(Debug)]
pub(in super::super) enum Asked {
    Answered(Question),
    /// The signal has not come through in time: it is masked, or the thread gets no CPU.
    NoAnswer,
    /// There is no such thread any longer.
    Gone,
    Refused(Refusal),
}

/// Why no signal was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// The program handles this signal itself.
    Taken,
    /// The handler would be that of a library, which may be closed.
    InLibrary,
    /// The thread has no room for the handler, or has not introduced itself.
    NoRoom,
    /// The system does not let us.
    Denied,
}

/// How a thread is asked.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Ask {
    pub(in super::super) signal: c_int,
    /// Whether to take a signal that the program handles.
    pub(in super::super) shared: bool,
    /// Then an answer is no longer waited for.
    pub(in super::super) until: Instant,
}

impl Ask {
    /// Asks a thread, by the number that it has in its own process.
    pub(in super::super) fn ask(self, thread: u32, question: Question) -> Asked {
        let Some(asking) = self.turn() else {
            return Asked::NoAnswer;
        };
        if !program::is_main() {
            return Asked::Refused(Refusal::InLibrary);
        }
        if !threads::is_ready(thread) {
            return match send(thread, NO_SIGNAL) {
                Ok(()) => Asked::Refused(Refusal::NoRoom),
                Err(asked) => asked,
            };
        }
        if let Err(refusal) = self.take_into_use() {
            return Asked::Refused(refusal);
        }
        if clock::now() >= self.until {
            // There is no time left for an answer.
            return Asked::NoAnswer;
        }
        if SLOT.ask(thread, question).is_err() {
            // A handler has begun and got no CPU since.
            return Asked::NoAnswer;
        }
        if let Err(asked) = send(thread, self.signal) {
            drop(SLOT.withdraw(thread));
            return asked;
        }
        let answer = self.wait(thread);
        drop(asking);
        match answer {
            Some(answer) if answer.runs_tokio => Asked::Answered(answer),
            // The thread that was meant has ended, and another has its number.
            Some(_) => Asked::Gone,
            None => Asked::NoAnswer,
        }
    }

    /// Where two watchdogs run, as in tests, one waits for the other. In a child of the process, whoever
    /// held it may not be there any longer.
    fn turn(self) -> Option<MutexGuard<'static, ()>> {
        loop {
            match ASKING.try_lock() {
                Ok(asking) => return Some(asking),
                Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
                Err(TryLockError::WouldBlock) if clock::now() >= self.until => return None,
                Err(TryLockError::WouldBlock) => sleep(LOOK_INTERVAL),
            }
        }
    }

    fn wait(self, thread: u32) -> Option<Question> {
        loop {
            if let Some(answer) = SLOT.collect() {
                return Some(answer);
            }
            if clock::now() >= self.until {
                break;
            }
            sleep(LOOK_INTERVAL);
        }
        // What comes back is a question without an answer, but for one that came just now. If a handler
        // is at it, which has got no CPU since, it stays, with a piece of stack, until the next question.
        SLOT.withdraw(thread)
            .filter(|question| question.registers.pc != 0)
    }

    /// Installs the handler, or sees that it is still there.
    fn take_into_use(self) -> Result<(), Refusal> {
        let before = usize::try_from(self.signal)
            .ok()
            .and_then(|signal| BEFORE.get(signal));
        let (Some(before), Some(current)) = (before, action(self.signal)) else {
            return Err(Refusal::Denied);
        };
        if is_ours(&current) {
            return Ok(());
        }
        // Taken away from us once, it is not fought for, whatever has come instead.
        let is_free = !is_handled(&current) || (self.shared && can_be_shared(&current));
        if before.get().is_some() || !is_free {
            return Err(Refusal::Taken);
        }
        // Known before the handler is: a signal of the program's own may come at once.
        let before = before.get_or_init(|| current);
        let replaced = install(self.signal, &ours_instead_of(before)).ok_or(Refusal::Denied)?;
        if (replaced.sa_sigaction, replaced.sa_flags) == (before.sa_sigaction, before.sa_flags) {
            return Ok(());
        }
        // The program has just set another.
        install(self.signal, &replaced);
        Err(Refusal::Taken)
    }
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handler as *const () as usize
}

fn action(signal: c_int) -> Option<libc::sigaction> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: with no new action it only writes the current one to where it is told to.
    let told = unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) };
    // SAFETY: it has been written.
    (told == 0).then(|| unsafe { current.assume_init() })
}

fn is_handled(action: &libc::sigaction) -> bool {
    action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN
}

/// Whether the program cannot tell if ours has called its handler or the kernel. Without SA_RESTART it
/// may mean to break calls, which is what ours must not.
fn can_be_shared(action: &libc::sigaction) -> bool {
    let expected = libc::SA_RESTART;
    action.sa_flags & (expected | libc::SA_RESETHAND | libc::SA_NODEFER) == expected
}

fn ours_instead_of(before: &libc::sigaction) -> libc::sigaction {
    let mut ours = *before;
    ours.sa_sigaction = handler as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    if is_handled(before) {
        // The program's own is called as it was: under its mask, and on the stack that it was made for.
        ours.sa_flags |= before.sa_flags & libc::SA_ONSTACK;
    } else {
        // The thread may have little left of its own stack. And the alternate one has room for one
        // handler on top of ours, not for that of a profiler, which expects a whole stack.
        ours.sa_flags |= libc::SA_ONSTACK;
        // SAFETY: the set is valid, and is overwritten.
        unsafe { libc::sigfillset(&raw mut ours.sa_mask) };
    }
    ours
}

/// The action that was there before. `None` if the system refuses the new one.
fn install(signal: c_int, action: &libc::sigaction) -> Option<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: our handler has the signature that SA_SIGINFO asks for, is part of the main program, which
    // stays, and keeps to the rules in `sys`; any other action is the program's own, put back as it was.
    let installed = unsafe { libc::sigaction(signal, action, before.as_mut_ptr()) };
    // SAFETY: it has been written.
    (installed == 0).then(|| unsafe { before.assume_init() })
}

/// Sends a signal; or sees whether the thread lives, without one.
fn send(thread: u32, signal: c_int) -> Result<(), Asked> {
    let process = std::process::id();
    // SAFETY: the call takes three integers. The handler is installed. The process' own id keeps the
    // signal from another process that may have a thread of this id by now; if another thread of this
    // process has it, the handler finds out, and that thread bears the signal as any does.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    if sent == 0 {
        return Ok(());
    }
    Err(match io::Error::last_os_error().raw_os_error() {
        Some(libc::ESRCH) => Asked::Gone,
        _ => Asked::Refused(Refusal::Denied),
    })
}

#[cfg(test)]
mod tests;
