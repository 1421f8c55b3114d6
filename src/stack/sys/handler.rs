//! The signal handler, which runs on the asked thread, on top of whatever that was doing. `sys.rs` has its
//! rules.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::thread;

use tokio::{runtime, task};

use super::slot::Slot;
use super::{program, raw};
use crate::stack::target::Identity;

/// One slot is for the question that is waited for. The others are for threads in long system calls.
const SLOT_COUNT: usize = 8;

pub(super) static SLOTS: [Slot<Question>; SLOT_COUNT] = [const { Slot::new() }; SLOT_COUNT];

/// Holds the action that each signal had before ours was installed.
pub(super) static BEFORE: [OnceLock<libc::sigaction>; 65] = [const { OnceLock::new() }; 65];

thread_local! {
    /// Whether Tokio has run on this thread, so that asking it sets nothing up. It has no destructor, and
    /// lies in the main program's block of thread-local variables, so the handler may read it.
    pub(super) static RUNS_TOKIO: Cell<bool> = const { Cell::new(false) };
}

/// What a thread is asked, and what it answers.
#[derive(Debug)]
pub(in super::super) struct Question {
    /// The memory of this process, from which the stack is copied. `None` if no stack is wanted.
    pub(in super::super) memory: Option<File>,
    /// Has the length that is wanted of the stack. The answer fills its beginning.
    pub(in super::super) stack: Vec<u8>,
    /// Counts the bytes of `stack` that the answer has filled.
    pub(in super::super) filled: usize,
    pub(in super::super) registers: Registers,
    /// Whether the thread that answered had introduced itself.
    pub(super) runs_tokio: bool,
    pub(in super::super) identity: Identity,
}

/// The registers that unwinding begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Registers {
    pub(in super::super) pc: u64,
    pub(in super::super) sp: u64,
    /// `None` for a blocked thread, which `/proc` shows without them.
    pub(in super::super) others: Option<Others>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Others {
    pub(in super::super) fp: u64,
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
            identity: Identity {
                worker: None,
                task: None,
            },
        }
    }

    pub(super) fn answer(&mut self, registers: Registers) {
        self.registers = registers;
        if let Some(memory) = &self.memory {
            self.filled = raw::read_at(memory.as_raw_fd(), &mut self.stack, registers.sp);
        }
        self.runs_tokio = RUNS_TOKIO.get();
        // Tokio answers from thread-local state: a cell that it copies, and a pointer that is set only while
        // its target lives. It changes each by one store, so an interrupted change shows the old or the new
        // value. It takes no lock, and a test shows that it does not allocate. This holds for Tokio 1.54,
        // which does not promise it: check it again for each new version.
        if self.runs_tokio {
            self.identity.worker = runtime::worker_index();
            self.identity.task = task::try_id();
        }
    }
}

/// Whether the handler is part of the main program, with all that it calls. Tokio is part of it if Rust's
/// own library is; otherwise that is loaded beside it.
pub(super) fn is_in_main_program() -> bool {
    let park: fn() = thread::park;
    [handler as *const (), park as *const ()]
        .into_iter()
        .all(|function| program::main_has(function as u64))
}

pub(super) extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let thread = raw::own_id();
    let registers = registers(context.cast());
    let mut has_answered = false;
    for slot in &SLOTS {
        has_answered |= slot.answer(thread, signal as u8, |question| question.answer(registers));
    }
    if !has_answered {
        pass_on(signal, info, context);
    }
}

fn registers(context: *const libc::ucontext_t) -> Registers {
    // SAFETY: the kernel passes a valid context to a handler installed with SA_SIGINFO. Nobody else has a
    // reference to it.
    let context = unsafe { &*context };
    #[cfg(target_arch = "x86_64")]
    {
        let register = |index: c_int| context.uc_mcontext.gregs[index as usize] as u64;
        Registers {
            pc: register(libc::REG_RIP),
            sp: register(libc::REG_RSP),
            others: Some(Others {
                fp: register(libc::REG_RBP),
                lr: 0,
            }),
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let machine = &context.uc_mcontext;
        Registers {
            pc: machine.pc,
            sp: machine.sp,
            others: Some(Others {
                fp: machine.regs[29],
                lr: machine.regs[30],
            }),
        }
    }
}

/// Passes a signal that carried no question on to the program's handler. A signal of ours that arrives
/// after its question was withdrawn cannot be told from one of the program's.
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
