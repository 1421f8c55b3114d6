//! Whether a thread polls a future in a `block_on` of a runtime, by what Tokio has noted on that thread.
//!
//! Tokio keeps a thread-local variable: which runtime is the current one, whether the thread is inside
//! `block_on`, whether it runs a scheduler there, which task it polls, and the budget of the present poll,
//! which exists only while something is polled. Reading it from outside touches the thread no more than
//! reading its stack does. It needs no names, so it works in stripped programs as well.
//!
//! Tokio does not publish where in the variable these are. So `experiment.rs` has Tokio change each of them, on
//! a thread of loopmon, and `layout.rs` finds the bytes that change with it. If it finds none, or more than it
//! expects, nothing is known of any thread. That Tokio sets a budget for each poll, and for nothing else, holds
//! for Tokio 1.54, which does not promise it: check it again for each new version.

mod experiment;
mod layout;

use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use tokio::runtime::Handle;

use super::image::open_memory;
use crate::per_process::PerProcess;
use crate::stack::sys;
use crate::stack::target::Look;
use layout::Layout;

/// `None` inside if it could not be found out.
static LAYOUT: PerProcess<OnceLock<Option<Layout>>> = PerProcess::new(OnceLock::new);

/// Where a thread has its thread-local variables of the main program. They are gone when the thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContextAddress(u64);

impl ContextAddress {
    /// Returns that of the calling thread. `None` if Tokio is not part of the main program.
    pub(crate) fn here() -> Option<ContextAddress> {
        let block = sys::thread_locals()?;
        Some(ContextAddress(block.start))
    }
}

/// Recognises the polls of one runtime.
#[derive(Debug)]
pub(crate) struct Witness {
    layout: &'static Layout,
    /// What a thread has noted at `layout.current` if the runtime is the current one.
    current: Vec<u8>,
}

impl Witness {
    /// Must be called outside of any runtime. Returns `None` if nothing can be recognised.
    pub(crate) fn of(runtime: &Handle) -> Option<Witness> {
        let layout = LAYOUT.get().get_or_init(experiment::layout).as_ref()?;
        let here = ContextAddress::here()?;
        let entered = runtime.enter();
        let current = read(layout, here);
        drop(entered);
        Some(Witness {
            layout,
            current: layout.current_in(&current?),
        })
    }

    /// Looks at a thread that lives. Returns `None` if its variables cannot be read.
    pub(crate) fn look(&self, thread: ContextAddress) -> Option<Look> {
        let noted = read(self.layout, thread)?;
        Some(self.layout.look(&noted, &self.current))
    }
}

/// Reads what the layout covers.
fn read(layout: &Layout, thread: ContextAddress) -> Option<Vec<u8>> {
    let span = layout.span();
    let mut noted = vec![0; span.len()];
    let start = thread.0.checked_add(span.start as u64)?;
    open_memory().ok()?.read_exact_at(&mut noted, start).ok()?;
    Some(noted)
}

#[cfg(test)]
mod tests;
