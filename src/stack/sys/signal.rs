//! The signal: how it is taken into use, sent and handled.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::hint;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::{runtime, task};

use super::slot::Slot;
use crate::clock;

/// How often an answer is looked for.
const LOOK_INTERVAL: Duration = Duration::from_micros(20);

static SLOT: Slot<Question> = Slot::new();

/// Whoever holds it may ask.
static ASKING: Mutex<()> = Mutex::new(());

/// For each signal that has been taken into use, the action it had before.
static BEFORE: [OnceLock<libc::sigaction>; 65] = [const { OnceLock::new() }; 65];

thread_local! {
    /// Tokio has run on this thread, so that to ask it sets nothing up. Has no destructor, so that
    /// the handler may look at it.
    static RUNS_TOKIO: Cell<bool> = const { Cell::new(false) };
}

/// What a thread is asked, and what it answers.
#[derive(Debug)]
pub(in super::super) struct Question {
    /// Where the stack is read from.
    pub(in super::super) memory: Option<File>,
    /// As long as what is wanted of the stack; the answer fills its beginning.
    pub(in super::super) stack: Vec<u8>,
    pub(in super::super) filled: usize,
    pub(in super::super) registers: Registers,
    /// Whether the rest is known.
    pub(in super::super) runs_tokio: bool,
    /// The worker that runs on the thread, and the task that it polls.
    pub(in super::super) worker: Option<usize>,
    pub(in super::super) task: Option<task::Id>,
}

/// The registers that unwinding begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Registers {
    pub(in super::super) pc: u64,
    pub(in super::super) sp: u64,
    /// Unknown if the stack was not taken by a signal.
    pub(in super::super) fp: Option<u64>,
    /// The return address, where the processor has a register for it.
    pub(in super::super) lr: u64,
}

impl Question {
    /// Asks for up to `wanted` bytes of the stack.
    pub(in super::super) fn new(memory: Option<File>, wanted: usize) -> Question {
        Question {
            memory,
            stack: vec![0; wanted],
            filled: 0,
            registers: Registers::default(),
            runs_tokio: false,
            worker: None,
            task: None,
        }
    }

    /// In the handler.
    fn answer(&mut self, registers: Registers) {
        self.registers = registers;
        if let Some(memory) = &self.memory {
            self.filled = memory.read_at(&mut self.stack, registers.sp).unwrap_or(0);
        }
        self.runs_tokio = RUNS_TOKIO.get();
        // Tokio answers from what it keeps for each thread: a cell that is copied, and a pointer that is
        // set for as long as what it leads to is there. It sets each by one store, so whatever has been
        // interrupted, there is the one or the other. It takes no lock and, as a test has it, does not
        // allocate. That is so in 1.54, and no promise of Tokio's: to be read again with a new version.
        if self.runs_tokio {
            self.worker = runtime::worker_index();
            self.task = task::try_id();
        }
    }
}

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
        // Where two watchdogs run, as in tests, one waits for the other.
        let asking: MutexGuard<'_, ()> = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
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
        if let Err(error) = send(thread, self.signal) {
            drop(SLOT.withdraw(thread));
            return match error.raw_os_error() {
                Some(libc::ESRCH) => Asked::Gone,
                _ => Asked::Refused(Refusal::Denied),
            };
        }
        let answer = self.wait(thread);
        drop(asking);
        answer.map_or(Asked::NoAnswer, Asked::Answered)
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

/// Says that Tokio runs on the calling thread, so that the thread can be asked what it runs.
pub(crate) fn introduce() {
    if RUNS_TOKIO.get() {
        return;
    }
    // Tokio sets up what it keeps for each thread when it is asked first. That allocates, so it has
    // to be done before the handler asks.
    hint::black_box((runtime::worker_index(), task::try_id()));
    compiler_fence(Ordering::SeqCst);
    RUNS_TOKIO.set(true);
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
    let stack = if is_handled(before) {
        // On the stack that it was made for: the alternate one has room for small handlers only.
        before.sa_flags & libc::SA_ONSTACK
    } else {
        // The thread may have little left of its own.
        libc::SA_ONSTACK
    };
    libc::sigaction {
        sa_sigaction: handler as *const () as usize,
        sa_flags: libc::SA_SIGINFO | libc::SA_RESTART | stack,
        // The mask stays.
        ..*before
    }
}

/// The action that was there before. `None` if the system refuses the new one.
fn install(signal: c_int, action: &libc::sigaction) -> Option<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: our handler has the signature that SA_SIGINFO asks for, and keeps to what a handler may
    // do; any other action is the program's own, put back as it was.
    let installed = unsafe { libc::sigaction(signal, action, before.as_mut_ptr()) };
    // SAFETY: it has been written.
    (installed == 0).then(|| unsafe { before.assume_init() })
}

fn send(thread: u32, signal: c_int) -> io::Result<()> {
    let process = std::process::id();
    // SAFETY: the call takes three integers. The handler is installed, and the process' own id keeps
    // the signal from another process that may have a thread of this id by now.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The calling thread's number in its own pid namespace, by which a signal is sent to it.
pub(crate) fn own_id() -> Option<u32> {
    // SAFETY: it takes nothing and always succeeds. glibc has had a function for it since 2.30 only.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    u32::try_from(thread).ok()
}

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let error = error_number();
    let answered = own_id().is_some_and(|thread| {
        SLOT.answer(thread, |question| {
            question.answer(registers(context.cast()));
        })
    });
    if !answered {
        pass_on(signal, info, context);
    }
    set_error_number(error);
}

fn registers(context: *const libc::ucontext_t) -> Registers {
    // SAFETY: the kernel hands a handler installed with SA_SIGINFO a valid context, which nobody
    // else knows of.
    let context = unsafe { &*context };
    #[cfg(target_arch = "x86_64")]
    {
        let register = |index: c_int| context.uc_mcontext.gregs[index as usize] as u64;
        Registers {
            pc: register(libc::REG_RIP),
            sp: register(libc::REG_RSP),
            fp: Some(register(libc::REG_RBP)),
            lr: 0,
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let machine = &context.uc_mcontext;
        Registers {
            pc: machine.pc,
            sp: machine.sp,
            fp: Some(machine.regs[29]),
            lr: machine.regs[30],
        }
    }
}

/// A signal that was not an answer, to whoever handled it before. One of ours that comes after we
/// have given up waiting looks like any other.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = usize::try_from(signal)
        .ok()
        .and_then(|signal| BEFORE.get(signal)?.get());
    let Some(before) = before else {
        return;
    };
    let function = before.sa_sigaction;
    if function == libc::SIG_DFL || function == libc::SIG_IGN {
        return;
    }
    let function = ptr::with_exposed_provenance::<c_void>(function);
    if before.sa_flags & libc::SA_SIGINFO == 0 {
        // SAFETY: the program has installed it as a handler that takes the signal alone.
        let function: extern "C" fn(c_int) = unsafe { mem::transmute(function) };
        function(signal);
    } else {
        // SAFETY: the program has installed it as a handler with this signature.
        let function: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            unsafe { mem::transmute(function) };
        function(signal, info, context);
    }
}

fn error_number() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The interrupted code may be about to read it.
fn set_error_number(error: c_int) {
    // SAFETY: it returns where this thread has its own.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is valid for as long as the thread lives.
    unsafe { *place = error };
}

#[cfg(test)]
mod tests;
