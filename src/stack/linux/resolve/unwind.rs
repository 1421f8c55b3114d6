//! Walks from the innermost call of a captured stack to the outermost. The walk knows addresses, not names.
//!
//! As long as the rules lead from each call to a plausible caller, the walk is sure. Where they do not,
//! `search.rs` tries other ways.

mod leaf;
mod search;
mod signal_frame;
mod thread_start;

use std::collections::HashMap;
use std::rc::Rc;

use addr2line::gimli::UnwindContext;

use super::super::image::Image;
use super::call_insn::{self, Call};
use super::memory::Memory;
use super::modules::Module;
use super::paged::Origin;
use super::prologue::{self, StackFrame};
use super::rules::{Lost, Rules, Values, number};
use crate::stack::sys::Registers;

/// Bounds the calls of one stack. A longer walk has gone in a circle.
const MAX_FRAMES: usize = 4096;

/// Bounds the steps of all attempts on one stack. An attempt may begin at each place of the stack, and may be
/// as long as the stack.
const MAX_STEPS: usize = 100_000;

/// Bounds how often one walk may continue after a gap.
const MAX_GAPS: usize = 8;

/// How many of the innermost calls include an unwinder that is setting the stack to that of another call. It
/// calls one function for that, which calls another to copy. At other times it is further out.
const NEAR: usize = 3;

/// Bounds the cached rules: those of some hundred stacks.
const MAX_RULES: usize = 4096;

/// Bounds the stack frame of one function, in bytes.
const MAX_FRAME_SIZE: u64 = 1 << 20;

/// The calls on a stack, as addresses to look up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) addresses: Vec<u64>,
    /// Whether the last call is the one that the thread began with.
    pub(super) complete: bool,
    /// Whether the frame pointer was found by trying.
    pub(super) guessed: bool,
    /// Whether a call was searched for, as the rules led no further.
    pub(super) scanned: bool,
    /// Whether one of the calls is about to set the stack to that of another.
    pub(super) unwinding: bool,
}

impl Walk {
    fn followed_by(mut self, rest: Walk) -> Walk {
        self.addresses.extend(rest.addresses);
        Walk {
            addresses: self.addresses,
            complete: rest.complete,
            guessed: self.guessed || rest.guessed,
            scanned: self.scanned || rest.scanned,
            unwinding: self.unwinding || rest.unwinding,
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy)]
struct Frame {
    pc: u64,
    is_innermost: bool,
    /// Whether the instruction before `pc` is a call. That is the one to look up.
    has_called: bool,
    values: Values,
}

impl Frame {
    fn innermost(registers: Registers) -> Frame {
        let fp = registers.others.map(|others| others.fp);
        let mut frame = Frame {
            is_innermost: true,
            has_called: false,
            ..Frame::called_from(registers.pc, registers.sp, fp)
        };
        if cfg!(target_arch = "aarch64") {
            let lr = registers.others.map(|others| others.lr);
            frame.values.set(number::RA, lr);
        }
        frame
    }

    fn called_from(returns_to: u64, sp: u64, fp: Option<u64>) -> Frame {
        let mut values = Values::default();
        values.set(number::SP, Some(sp));
        values.set(number::FP, fp);
        values.set(number::RA, Some(returns_to));
        Frame {
            pc: returns_to,
            is_innermost: false,
            has_called: true,
            values,
        }
    }

    /// Returns the address by which rules and names are looked up.
    fn lookup(&self) -> u64 {
        self.pc.wrapping_sub(self.has_called.into())
    }

    fn sp(&self) -> u64 {
        self.values.get(number::SP).unwrap_or_default()
    }

    fn fp(&self) -> Option<u64> {
        self.values.get(number::FP)
    }
}

/// Why a walk has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The call has no caller.
    Outermost,
    /// The next call is beyond the copied part. Either the stack goes on there, or the walk is wrong.
    Beyond,
    /// The frame pointer is needed and not known.
    FramePointer,
    /// The return address is in a register that is not known.
    ReturnRegister,
    /// There are no rules, or they lead to an address that is not after a call.
    Lost,
}

/// Unwinds stacks of this process, by the unwind tables of its modules.
pub(super) struct Unwinder {
    memory: Rc<Memory>,
    modules: Vec<Module>,
    rules: HashMap<u64, Option<Rc<Rules>>>,
    context: UnwindContext<usize>,
    steps_left: usize,
}

impl Unwinder {
    pub(super) fn new(memory: Rc<Memory>, modules: Vec<Module>) -> Unwinder {
        Unwinder {
            memory,
            modules,
            rules: HashMap::new(),
            context: UnwindContext::new(),
            steps_left: 0,
        }
    }

    pub(super) fn into_modules(self) -> Vec<Module> {
        self.modules
    }

    pub(super) fn module_of(&self, address: u64) -> Option<&Module> {
        let mut modules = self.modules.iter();
        modules.find(|module| module.contains(address))
    }

    pub(super) fn walk(&mut self, image: &Image) -> Walk {
        self.steps_left = MAX_STEPS;
        let (walk, last, stop) = self.walk_from(image, Frame::innermost(image.registers));
        self.go_on(image, walk, last, stop, MAX_GAPS)
    }

    /// Walks as far as the rules lead. Also returns the last call, and why the walk has stopped there.
    fn walk_from(&mut self, image: &Image, start: Frame) -> (Walk, Frame, Stop) {
        let mut walk = Walk::default();
        let mut frame = start;
        loop {
            walk.addresses.push(frame.lookup());
            if walk.addresses.len() == MAX_FRAMES {
                return (walk, frame, Stop::Beyond);
            }
            let near = walk.addresses.len() <= NEAR;
            match self.caller(image, &mut frame) {
                Ok((caller, is_unwinder)) => {
                    walk.unwinding |= is_unwinder && near;
                    frame = caller;
                }
                Err(stop) => {
                    walk.complete = stop == Stop::Outermost;
                    return (walk, frame, stop);
                }
            }
        }
    }

    /// Returns the caller, and whether `frame` is in a function that sets the stack to that of another call.
    /// Fills in the frame pointer of `frame` if it is needed and can be computed.
    fn caller(&mut self, image: &Image, frame: &mut Frame) -> Result<(Frame, bool), Stop> {
        self.steps_left = self.steps_left.saturating_sub(1);
        let Some(rules) = self.rules(frame.lookup()) else {
            let caller = self.caller_by_code(image, frame)?;
            return Ok((caller, false));
        };
        if rules.is_outermost(!frame.has_called) {
            return Err(Stop::Outermost);
        }
        let mut values = rules.caller(&frame.values, image);
        if values == Err(Lost::Register(number::FP)) {
            let fp = self.frame_pointer(frame).ok_or(Stop::FramePointer)?;
            frame.values.set(number::FP, Some(fp));
            values = rules.caller(&frame.values, image);
        }
        let beyond = image.end().saturating_sub(7)..image.end().saturating_add(MAX_FRAME_SIZE);
        let values = values.map_err(|lost| match lost {
            Lost::Memory(at) if beyond.contains(&at) => Stop::Beyond,
            _ => Stop::Lost,
        })?;
        let pc = values.get(number::RA).map(address);
        let pc = pc.ok_or(Stop::ReturnRegister)?;
        let caller = Frame {
            pc,
            is_innermost: false,
            has_called: !rules.is_signal_frame,
            values,
        };
        // A call uses stack, but for a leaf on AArch64. A signal's handler may have another stack.
        let is_leaf = cfg!(target_arch = "aarch64") && caller.sp() == frame.sp();
        let is_further = caller.sp() > frame.sp() || is_leaf && pc != frame.pc;
        let is_plausible = rules.is_signal_frame
            || is_further && (self.is_return_address(pc) || self.returns_from_signal(pc));
        is_plausible
            .then_some((caller, rules.is_unwinder))
            .ok_or(Stop::Lost)
    }

    /// Returns the caller of code without rules, where instructions tell: those of the code, which end a handler, or
    /// those that end the thread after it.
    fn caller_by_code(&mut self, image: &Image, frame: &Frame) -> Result<Frame, Stop> {
        if signal_frame::begins_at(&self.memory, frame.pc) {
            return signal_frame::interrupted(image, frame.sp()).ok_or(Stop::Lost);
        }
        let is_first = self.is_first_of_thread(image, frame);
        Err(if is_first {
            Stop::Outermost
        } else {
            Stop::Lost
        })
    }

    fn rules(&mut self, address: u64) -> Option<Rc<Rules>> {
        if let Some(known) = self.rules.get(&address) {
            return known.clone();
        }
        let mut modules = self.modules.iter();
        let module = modules.find(|module| module.contains(address));
        let rules = module.and_then(|module| {
            let relative = address.wrapping_sub(module.bias);
            Rules::at(module, relative, &mut self.context)
        });
        if self.rules.len() == MAX_RULES {
            self.rules.clear();
        }
        let rules = rules.map(Rc::new);
        self.rules.insert(address, rules.clone());
        rules
    }

    /// Computes the frame pointer from the code that the function begins with.
    fn frame_pointer(&self, frame: &Frame) -> Option<u64> {
        let function = self.function_of(frame.lookup())?;
        frame.sp().checked_add(self.stack_frame(function)?.pointer)
    }

    /// Returns what the function that begins at this address uses of the stack.
    fn stack_frame(&self, function: u64) -> Option<StackFrame> {
        let mut code = [0; prologue::LONGEST];
        self.memory.read(function, &mut code)?;
        prologue::stack_frame(&code)
    }

    fn is_return_address(&mut self, word: u64) -> bool {
        let code = |module: &Module| module.code.iter().any(|code| code.contains(&word));
        if !self.module_of(word).is_some_and(code) {
            return false;
        }
        // Reading the code costs about as much as a step.
        self.steps_left = self.steps_left.saturating_sub(1);
        self.call_before(word).is_some()
    }

    /// Whether the address is what a signal's handler returns to, which no call comes before.
    fn returns_from_signal(&mut self, word: u64) -> bool {
        let rules = self.rules(word.wrapping_sub(1));
        rules.is_some_and(|rules| rules.is_signal_frame)
            || signal_frame::begins_at(&self.memory, word)
    }

    fn call_before(&self, address: u64) -> Option<Call> {
        let mut bytes = [0; call_insn::LONGEST];
        let at = address.checked_sub(call_insn::LONGEST as u64)?;
        self.memory.read(at, &mut bytes)?;
        call_insn::call_before(&bytes)
    }

    fn function_of(&self, address: u64) -> Option<u64> {
        let module = self.module_of(address)?;
        let function = module.function_of(address.wrapping_sub(module.bias))?;
        Some(function.wrapping_add(module.bias))
    }
}

/// Returns the address in a word that may be a return address.
#[cfg(target_arch = "x86_64")]
fn address(word: u64) -> u64 {
    word
}

/// Strips the signature that a return address may have in its upper bits.
#[cfg(target_arch = "aarch64")]
fn address(word: u64) -> u64 {
    word & ((1 << 48) - 1)
}
