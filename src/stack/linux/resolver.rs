//! Makes traces of what was captured. The reader's part: it may take its time and any lock.

use super::capture::{Capture, Image};
use super::cut;
use super::memory::{self, Mapping};
use super::modules;
use super::symbols;
use super::unwind::{Unwinder, Walk};
use crate::clock;
use crate::stack::trace::{NoStack, Trace};

/// Holds what it has read of the program, for the next time, until it is dropped.
#[derive(Default)]
pub(crate) struct Resolver {
    unwinder: Option<Unwinder>,
    /// What code was mapped when that was made.
    code: Vec<Mapping>,
}

impl Resolver {
    pub(crate) fn resolve(&mut self, capture: Capture) -> Trace {
        let began = clock::now();
        let walked = capture.stack.and_then(|image| self.walk(&image));
        let (walk, no_stack) = match walked {
            Ok(walk) => (walk, None),
            Err(no_stack) => (Walk::default(), Some(no_stack)),
        };
        let frames = match &self.unwinder {
            Some(unwinder) => {
                let addresses = walk.addresses.iter();
                addresses
                    .flat_map(|&address| symbols::frames(unwinder.module_of(address), address))
                    .collect()
            }
            None => Vec::new(),
        };
        let functions: Vec<_> = frames.iter().map(|frame| frame.function()).collect();
        Trace {
            users: cut::users(&functions),
            truncated: no_stack.is_none() && !walk.complete,
            guessed_frame_pointer: walk.guessed,
            scanned: walk.scanned,
            no_stack,
            facts: capture.facts,
            capture_time: capture.took,
            resolve_time: clock::now().saturating_duration_since(began),
            frames,
        }
    }

    fn walk(&mut self, image: &Image) -> Result<Walk, NoStack> {
        let mappings = memory::mappings();
        let unwinder = match self.unwinder.take() {
            Some(unwinder) if modules::code(&mappings).eq(&self.code) => unwinder,
            // For the first time, or a library has come or gone since.
            outdated => {
                let known = outdated.map_or_else(Vec::new, Unwinder::into_modules);
                let memory = memory::open().map_err(|_| NoStack::Hidden)?;
                let modules = modules::load(&memory, &mappings, known);
                self.code = modules::code(&mappings).cloned().collect();
                Unwinder::new(memory, modules)
            }
        };
        Ok(self.unwinder.insert(unwinder).walk(image))
    }
}
