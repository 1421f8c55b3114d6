//! Makes traces of what was captured. The reader's part: it may take its time and any lock.

mod call_insn;
mod debug;
mod elf;
mod elf_file;
mod file;
mod index;
mod memory;
mod modules;
mod paged;
mod prologue;
mod rules;
mod symbols;
mod unpack;
mod unwind;
mod user_frames;

use std::rc::Rc;

use super::image::{Capture, Image, open_memory};
use crate::clock;
use crate::stack::frame::Frame;
use crate::stack::trace::{NoStack, StackTrace};
use memory::{Mapping, Memory};
use modules::Module;
use paged::Budget;
use unwind::{Unwinder, Walk};

/// How much of the tables for unwinding is held at once, in bytes.
const TABLES: u64 = 32 << 20;

/// How much debug information is held at once, in bytes: what is read of files, and what is unpacked.
const DEBUG_INFORMATION: u64 = 64 << 20;

/// How often each of them is looked at. That bounds the time, and what is made of them: mostly some ten
/// bytes for each look.
const LOOKS: u64 = 8_000_000;

/// Holds what it has read of the program, for the next time, until it is dropped.
pub(crate) struct Resolver {
    unwinder: Option<Unwinder>,
    /// What code was mapped when that was made.
    code: Vec<Mapping>,
    tables: Rc<Budget>,
    debug_information: Rc<Budget>,
    /// For one stack alone it is not enough.
    is_short: bool,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver {
            unwinder: None,
            code: Vec::new(),
            tables: Budget::new(TABLES, LOOKS),
            debug_information: Budget::new(DEBUG_INFORMATION, LOOKS),
            is_short: false,
        }
    }
}

impl Resolver {
    pub(crate) fn resolve(&mut self, capture: Capture) -> StackTrace {
        let began = clock::now();
        let read = capture.stack.and_then(|image| self.read(&image));
        let (walk, frames, no_stack) = match read {
            Ok((walk, frames)) => (walk, frames, None),
            Err(no_stack) => (Walk::default(), Vec::new(), Some(no_stack)),
        };
        let lacks_lines = frames.iter().any(|frame| frame.line.is_none());
        StackTrace {
            handed_over: user_frames::has_handed_over(&functions(&frames)),
            users: user_frames::users(&functions(&frames)),
            truncated: no_stack.is_none() && !walk.complete,
            guessed_frame_pointer: walk.guessed,
            scanned: walk.scanned,
            unwinding: walk.unwinding,
            beyond_budget: lacks_lines && self.debug_information.fell_short(),
            without_debug_information: self.lacks_debug_information(&walk),
            no_stack,
            thread_state: capture.thread_state,
            capture_time: capture.took,
            resolve_time: clock::now().saturating_duration_since(began),
            frames,
        }
    }

    fn read(&mut self, image: &Image) -> Result<(Walk, Vec<Frame>), NoStack> {
        let walk = self.unwinder()?.walk(image);
        let frames = self.names(&walk);
        Ok((walk, frames))
    }

    fn names(&mut self, walk: &Walk) -> Vec<Frame> {
        let had_fallen_short = self.debug_information.fell_short();
        let mut frames = self.named(walk);
        let falls_short = !had_fallen_short && self.debug_information.fell_short();
        let have_changed = self.files_have_changed();
        // Together with what is left of earlier stacks it was too much, or of a file that has been
        // written to. It is read anew, once.
        if have_changed || falls_short && !self.is_short {
            self.forget_names();
            frames = self.named(walk);
            self.is_short = self.debug_information.fell_short();
        }
        if have_changed && self.files_have_changed() {
            self.forget_names();
            let bare = |&address: &u64| symbols::bare(self.module_of(address), address);
            return walk.addresses.iter().map(bare).collect();
        }
        frames
    }

    fn named(&self, walk: &Walk) -> Vec<Frame> {
        let module_of = |address| self.module_of(address);
        symbols::frames(&walk.addresses, module_of, &self.debug_information)
    }

    fn module_of(&self, address: u64) -> Option<&Module> {
        self.unwinder.as_ref()?.module_of(address)
    }

    fn files_have_changed(&self) -> bool {
        let modules = self.unwinder.as_ref().map_or(&[][..], Unwinder::modules);
        modules.iter().any(|module| !module.symbols.are_unchanged())
    }

    fn forget_names(&mut self) {
        if let Some(unwinder) = &mut self.unwinder {
            unwinder.forget_symbols();
        }
        self.debug_information = Budget::new(DEBUG_INFORMATION, LOOKS);
    }

    /// Whether the code that this is linked into, as the user's mostly is, comes without.
    fn lacks_debug_information(&self, walk: &Walk) -> bool {
        let here = functions as fn(_) -> _ as usize as u64;
        self.module_of(here).is_some_and(|own| {
            let mut addresses = walk.addresses.iter();
            own.symbols.lack_lines() && addresses.any(|address| own.range.contains(address))
        })
    }

    /// Of the code that is in the process now.
    fn unwinder(&mut self) -> Result<&mut Unwinder, NoStack> {
        let mappings = memory::mappings();
        if self.tables.fell_short() {
            self.unwinder = None;
            self.tables = Budget::new(TABLES, LOOKS);
        }
        let unwinder = match self.unwinder.take() {
            Some(unwinder) if modules::code(&mappings).eq(&self.code) => unwinder,
            // For the first time, or a library has come or gone since.
            outdated => {
                let known = outdated.map_or_else(Vec::new, Unwinder::into_modules);
                let memory = open_memory().map_err(|_| NoStack::Hidden)?;
                let memory = Rc::new(Memory(memory));
                let modules = modules::load(&memory, &mappings, known, &self.tables);
                self.code = modules::code(&mappings).cloned().collect();
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
