//! The handler: runs on the asked thread, on top of whatever that was doing.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;

use tokio::{runtime, task};

use super::slot::Slot;
use super::{raw, threads};

pub(super) static SLOT: Slot<Question> = Slot::new();

/// For each signal that has been taken into use, the action it had before.
pub(super) static BEFORE: [OnceLock<libc::sigaction>; 65] = [const { OnceLock::new() }; 65];

/// What a thread is asked, and what it answers.
#[derive(Debug)]
pub(in super::super) struct Question {
    /// Where the stack is read from.
    pub(in super::super) memory: Option<File>,
    /// As long as what is wanted of the stack; the answer fills its beginning.
    pub(in super::super) stack: Vec<u8>,
    pub(in super::super) filled: usize,
    pub(in super::super) registers: Registers,
    /// Whether it was a thread that has introduced itself.
    pub(super) runs_tokio: bool,
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

    pub(super) fn answer(&mut self, registers: Registers) {
        self.registers = registers;
        if let Some(memory) = &self.memory {
            self.filled = raw::read_at(memory.as_raw_fd(), &mut self.stack, registers.sp);
        }
        self.runs_tokio = threads::runs_tokio();
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

pub(super) extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let answered = SLOT.answer(raw::own_id(), |question| {
        question.answer(registers(context.cast()));
    });
    if !answered {
        pass_on(signal, info, context);
    }
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
