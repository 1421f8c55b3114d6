//! Makes traces of what was captured. The reader's part: it may take its time and any lock.

use super::capture::{Capture, Image};
use super::cut;
use super::memory;
use super::modules;
use super::symbols;
use super::unwind::{Unwinder, Walk};
use crate::clock;
use crate::stack::trace::{NoStack, Trace};

/// Holds what it has read of the program, for the next time, until it is told to let go.
#[derive(Default)]
pub(crate) struct Resolver {
    unwinder: Option<Unwinder>,
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
            Some(unwinder) => symbols::frames(unwinder, &walk.addresses),
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

    pub(crate) fn release(self) {
        symbols::release();
    }

    fn walk(&mut self, image: &Image) -> Result<Walk, NoStack> {
        if let Some(unwinder) = &mut self.unwinder {
            let walk = unwinder.walk(image);
            let known = |address: &u64| unwinder.module_of(*address).is_some();
            if walk.complete && walk.addresses.iter().all(known) {
                return Ok(walk);
            }
        }
        // For the first time, or something has been loaded since.
        let memory = memory::open().map_err(|_| NoStack::Hidden)?;
        let modules = modules::load(&memory);
        let unwinder = self.unwinder.insert(Unwinder::new(memory, modules));
        Ok(unwinder.walk(image))
    }
}
