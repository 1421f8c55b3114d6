//! From the bytes of a stack to the calls that are on it.

mod search;

use std::collections::HashMap;
use std::rc::Rc;

use addr2line::gimli::UnwindContext;

use super::super::image::Image;
use super::call_insn::{self, Call};
use super::memory::Memory;
use super::modules::Module;
use super::paged::Origin;
use super::prologue;
use super::rules::{Lost, Rules, Values, number};
use crate::stack::sys::Registers;

/// No stack has more calls; what seems to has led the walk in a circle.
const MOST_FRAMES: usize = 4096;

/// How much is looked at in all to find a way that leads out. Each place on a stack may be the
/// beginning of one, and each way may be as long as the stack.
const MOST_STEPS: usize = 100_000;

/// How often a walk may lose its way and find another.
const MOST_GAPS: usize = 8;

/// How far from the innermost an unwinder is that sets the stack to that of another call: it has that
/// done by one function, which has another copy. Before it does so, it calls more.
const NEAR: usize = 3;

/// How many rules are kept: those of some hundred stacks.
const MOST_RULES: usize = 4096;

/// No function has more on the stack. What is further away has nothing to do with it.
const LARGEST_FRAME: u64 = 1 << 20;

/// The calls on a stack, by the addresses in them that are to be looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) addresses: Vec<u64>,
    /// The last is the one that the thread began with.
    pub(super) complete: bool,
    pub(super) guessed: bool,
    pub(super) scanned: bool,
    /// One of them is about to set the stack to that of another.
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
    /// The next instruction comes after a call, which is what is looked up.
    has_called: bool,
    values: Values,
}

impl Frame {
    fn innermost(registers: Registers) -> Frame {
        let mut values = Values::default();
        values.set(number::SP, Some(registers.sp));
        values.set(number::FP, registers.fp);
        let returns_to = cfg!(target_arch = "aarch64").then_some(registers.lr);
        values.set(number::RA, returns_to.or(Some(registers.pc)));
        Frame {
            pc: registers.pc,
            is_innermost: true,
            has_called: false,
            values,
        }
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
    Outermost,
    /// What is next is beyond what has been copied. So the stack goes on there, or the way is wrong.
    Beyond,
    /// The frame pointer is not known.
    FramePointer,
    /// There are no rules, or where they lead is nothing that has called.
    Lost,
}

/// What is known of the code in this process.
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
        self.steps_left = MOST_STEPS;
        let (walk, last, stop) = self.walk_from(image, Frame::innermost(image.registers));
        self.go_on(image, walk, last, stop, MOST_GAPS)
    }

    /// As far as it is sure. Also returns where it has stopped, and why.
    fn walk_from(&mut self, image: &Image, start: Frame) -> (Walk, Frame, Stop) {
        let mut walk = Walk::default();
        let mut frame = start;
        loop {
            walk.addresses.push(frame.lookup());
            if walk.addresses.len() == MOST_FRAMES {
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

    /// Fills in the frame pointer, where it is needed and can be computed. Also returns whether that
    /// is left by an exception.
    fn caller(&mut self, image: &Image, frame: &mut Frame) -> Result<(Frame, bool), Stop> {
        self.steps_left = self.steps_left.saturating_sub(1);
        let rules = self.rules(frame.lookup()).ok_or(Stop::Lost)?;
        if rules.is_outermost(frame.is_innermost) {
            return Err(Stop::Outermost);
        }
        let mut word = |at| image.word(at);
        let mut values = rules.caller(&frame.values, &mut word);
        if values == Err(Lost::Register(number::FP)) {
            let fp = self.frame_pointer(frame).ok_or(Stop::FramePointer)?;
            frame.values.set(number::FP, Some(fp));
            values = rules.caller(&frame.values, &mut word);
        }
        let beyond = image.end().saturating_sub(7)..image.end().saturating_add(LARGEST_FRAME);
        let values = values.map_err(|lost| match lost {
            Lost::Memory(at) if beyond.contains(&at) => Stop::Beyond,
            _ => Stop::Lost,
        })?;
        let pc = values.get(number::RA).map(address).ok_or(Stop::Lost)?;
        let caller = Frame {
            pc,
            is_innermost: false,
            has_called: !rules.is_signal_frame,
            values,
        };
        // A call takes room. A signal's handler may have a stack of its own.
        let takes_none = cfg!(target_arch = "aarch64") && caller.sp() == frame.sp();
        let is_further = caller.sp() > frame.sp() || takes_none && pc != frame.pc;
        let is_plausible = rules.is_signal_frame
            || is_further && (self.is_return_address(pc) || self.returns_from_signal(pc));
        is_plausible
            .then_some((caller, rules.is_unwinder))
            .ok_or(Stop::Lost)
    }

    fn rules(&mut self, address: u64) -> Option<Rc<Rules>> {
        if let Some(known) = self.rules.get(&address) {
            return known.clone();
        }
        let mut modules = self.modules.iter();
        let module = modules.find(|module| module.contains(address));
        let rules = module.and_then(|module| {
            let own = address.wrapping_sub(module.bias);
            Rules::at(module, own, &mut self.context)
        });
        if self.rules.len() == MOST_RULES {
            self.rules.clear();
        }
        let rules = rules.map(Rc::new);
        self.rules.insert(address, rules.clone());
        rules
    }

    /// That of the function there, by how it begins.
    fn frame_pointer(&self, frame: &Frame) -> Option<u64> {
        let function = self.function_of(frame.lookup())?;
        let mut code = [0; prologue::LONGEST];
        self.memory.read(function, &mut code)?;
        frame.sp().checked_add(prologue::frame_size(&code)?)
    }

    fn is_return_address(&mut self, word: u64) -> bool {
        let code = |module: &Module| module.code.iter().any(|code| code.contains(&word));
        if !self.module_of(word).is_some_and(code) {
            return false;
        }
        // It costs about as much.
        self.steps_left = self.steps_left.saturating_sub(1);
        self.call_before(word).is_some()
    }

    /// Nothing has called what a signal's handler returns to; it is made to look so.
    fn returns_from_signal(&mut self, word: u64) -> bool {
        let rules = self.rules(word.wrapping_sub(1));
        rules.is_some_and(|rules| rules.is_signal_frame)
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

#[cfg(target_arch = "x86_64")]
fn address(word: u64) -> u64 {
    word
}

/// Return addresses may be signed in the bits that are no part of an address.
#[cfg(target_arch = "aarch64")]
fn address(word: u64) -> u64 {
    word & ((1 << 48) - 1)
}
