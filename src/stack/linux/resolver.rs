//! Makes traces of what was captured. The reader's part: it may take its time and any lock.

use super::capture::{Capture, Image};
use super::cut;
use super::memory::{self, Mapping};
use super::modules;
use super::symbols;
use super::unwind::{Unwinder, Walk};
use crate::clock;
use crate::stack::frame::Frame;
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
        let read = capture.stack.and_then(|image| self.read(&image));
        let (walk, frames, no_stack) = match read {
            Ok((walk, frames)) => (walk, frames, None),
            Err(no_stack) => (Walk::default(), Vec::new(), Some(no_stack)),
        };
        Trace {
            users: cut::users(&functions(&frames)),
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

    fn read(&mut self, image: &Image) -> Result<(Walk, Vec<Frame>), NoStack> {
        let unwinder = self.unwinder()?;
        let walk = unwinder.walk(image);
        let named = |&address: &u64| symbols::frames(unwinder.module_of(address), address);
        let frames: Vec<_> = walk.addresses.iter().flat_map(named).collect();
        if cut::has_handed_over(&functions(&frames)) {
            return Err(NoStack::HandedOver);
        }
        Ok((walk, frames))
    }

    /// Of the code that is in the process now.
    fn unwinder(&mut self) -> Result<&mut Unwinder, NoStack> {
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
        Ok(self.unwinder.insert(unwinder))
    }
}

fn functions(frames: &[Frame]) -> Vec<Option<&str>> {
    frames.iter().map(Frame::function).collect()
}
