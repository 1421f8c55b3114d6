//! Resolves captured stacks to traces: the part that runs on the resolver thread.
//!
//! It may take its time, allocate, and wait for locks that the stuck thread may hold. It keeps what it
//! has read of the program's files for the next stack, and bounds how much that is.

mod budget;
mod call_insn;
mod culprit;
mod debug;
mod decompress;
mod elf;
mod elf_file;
mod file;
#[cfg(loopmon_fuzzing)]
pub(super) mod fuzzing;
mod index;
mod memory;
mod modules;
mod paged;
mod prologue;
mod rules;
mod symbols;
mod unwind;
mod user_frames;
mod window;

use std::rc::Rc;

use super::image::{Capture, Image, open_memory};
use crate::clock;
use crate::stack::frame::Frame;
use crate::stack::settings::OwnCode;
use crate::stack::trace::{NoStack, StackTrace};
use budget::Budget;
use culprit::{Doubts, Program};
use memory::{Mapping, Memory};
use modules::Module;
use symbols::Symbols;
use unwind::{Unwinder, Walk};

/// Bounds the unwind tables that are kept, in bytes.
const MAX_TABLES: u64 = 32 << 20;

/// Bounds the debug information that is kept, in bytes: both what is read from files and what is
/// decompressed.
const MAX_DEBUG_INFORMATION: u64 = 64 << 20;

/// Bounds how often each of them is read. That bounds the time, and the memory for what is built from a
/// read, mostly some ten bytes.
const MAX_READS: u64 = 8_000_000;

/// Resolves captures, and keeps what it has read of the program until it is dropped.
pub(crate) struct Resolver {
    unwinder: Option<Unwinder>,
    /// The mappings of code for which the unwinder was made.
    code: Vec<Mapping>,
    tables: Rc<Budget>,
    symbols: Symbols,
    /// Whether the debug information that one stack needs exceeds the budget by itself.
    exceeds_budget_alone: bool,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver {
            unwinder: None,
            code: Vec::new(),
            tables: Budget::new(MAX_TABLES, MAX_READS),
            symbols: no_symbols(),
            exceeds_budget_alone: false,
        }
    }
}

fn no_symbols() -> Symbols {
    Symbols::new(Budget::new(MAX_DEBUG_INFORMATION, MAX_READS))
}

impl Resolver {
    pub(crate) fn resolve(&mut self, capture: Capture) -> StackTrace {
        let began = clock::now();
        let calls = capture.stack.and_then(|image| self.calls(&image));
        let (walk, frames, no_stack) = match calls {
            Ok((walk, frames)) => (walk, frames, None),
            Err(no_stack) => (Walk::default(), Vec::new(), Some(no_stack)),
        };
        let lacks_lines = frames.iter().any(|frame| frame.line.is_none());
        let users = user_frames::count(&functions(&frames));
        StackTrace {
            handed_over: user_frames::has_handed_over(&functions(&frames)),
            users,
            culprit: self.culprit(&walk, &frames[..users], &capture.own),
            truncated: no_stack.is_none() && !walk.complete,
            guessed_frame_pointer: walk.guessed,
            scanned: walk.scanned,
            unwinding: walk.unwinding,
            beyond_budget: lacks_lines && self.symbols.exceed_budget(),
            without_debug_information: self.lacks_debug_information(&walk),
            no_stack,
            thread_state: capture.thread_state,
            capture_time: capture.capture_time,
            resolve_time: clock::now().saturating_duration_since(began),
            frames,
        }
    }

    fn calls(&mut self, image: &Image) -> Result<(Walk, Vec<Frame>), NoStack> {
        let walk = self.unwinder()?.walk(image);
        let frames = self.frames(&walk);
        Ok((walk, frames))
    }

    fn frames(&mut self, walk: &Walk) -> Vec<Frame> {
        let was_exceeded = self.symbols.exceed_budget();
        let mut frames = self.named(walk);
        let is_exceeded = !was_exceeded && self.symbols.exceed_budget();
        let have_changed = !self.symbols.are_unchanged();
        // What is kept from earlier stacks used up the budget, or belongs to a file that was written to.
        // A second attempt reads everything anew.
        if have_changed || is_exceeded && !self.exceeds_budget_alone {
            self.symbols = no_symbols();
            frames = self.named(walk);
            self.exceeds_budget_alone = self.symbols.exceed_budget();
        }
        if have_changed && !self.symbols.are_unchanged() {
            self.symbols = no_symbols();
            let unnamed = |&address: &u64| symbols::unnamed(self.module_of(address), address);
            return walk.addresses.iter().map(unnamed).collect();
        }
        frames
    }

    fn named(&mut self, walk: &Walk) -> Vec<Frame> {
        let unwinder = self.unwinder.as_ref();
        let module_of = |address| unwinder?.module_of(address);
        self.symbols.frames(&walk.addresses, module_of)
    }

    fn module_of(&self, address: u64) -> Option<&Module> {
        self.unwinder.as_ref()?.module_of(address)
    }

    /// Returns the index of the innermost call of the user's own code.
    fn culprit(&self, walk: &Walk, users: &[Frame], own: &OwnCode) -> Option<usize> {
        let module = self.own_module()?;
        let compilations = self.symbols.compilations(module, &walk.addresses);
        let program = Program::new(&module.id.name, &compilations, own);
        let doubts = Doubts {
            are_lines_missing: self.symbols.exceed_budget(),
            is_scanned: walk.scanned,
            is_unwinding: walk.unwinding,
        };
        program.culprit(users, &doubts)
    }

    /// Returns the module that loopmon is linked into.
    fn own_module(&self) -> Option<&Module> {
        self.module_of(functions as fn(_) -> _ as usize as u64)
    }

    /// Whether the module that loopmon is linked into is on the stack and has no debug information. In
    /// most programs, it is also the module of the user's code.
    fn lacks_debug_information(&self, walk: &Walk) -> bool {
        self.own_module().is_some_and(|own| {
            let mut addresses = walk.addresses.iter();
            self.symbols.lack_lines(own) && addresses.any(|address| own.contains(*address))
        })
    }

    /// Returns the unwinder for the code that is mapped now.
    fn unwinder(&mut self) -> Result<&mut Unwinder, NoStack> {
        let mappings = memory::mappings();
        if self.tables.is_exceeded() {
            self.unwinder = None;
            self.tables = Budget::new(MAX_TABLES, MAX_READS);
        }
        let unwinder = match self.unwinder.take() {
            Some(unwinder) if modules::code(&mappings).eq(&self.code) => unwinder,
            // This is the first stack, or a library was loaded or closed since the last.
            outdated => {
                let known = outdated.map_or_else(Vec::new, Unwinder::into_modules);
                let memory = open_memory().map_err(|_| NoStack::Hidden)?;
                let memory = Rc::new(Memory(memory));
                let modules = modules::load(&memory, &mappings, known, &self.tables);
                self.code = modules::code(&mappings).cloned().collect();
                self.symbols.retain(&modules);
                Unwinder::new(memory, modules)
            }
        };
        Ok(self.unwinder.insert(unwinder))
    }
}

fn functions(frames: &[Frame]) -> Vec<Option<&str>> {
    frames.iter().map(Frame::function).collect()
}

#[cfg(test)]
mod tests;
