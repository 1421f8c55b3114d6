//! The thread that resolves stacks: it finds out which calls the captured bytes are.
//!
//! That takes time, and locks that a stuck thread may hold, so nobody waits for it for long.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::platform::Resolver;
use super::snapshot::Unresolved;
use crate::threads;

/// For how long after the last stack what was read of the program is kept for the next one.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The way to the thread. When this is dropped, it resolves what it was given, and ends with all that it
/// holds of the program.
#[derive(Debug)]
pub(crate) struct ResolverThread(Sender<Unresolved>);

impl ResolverThread {
    /// `done` is called after each stack, whatever has come of it.
    pub(crate) fn start(done: impl Fn() + Send + 'static) -> io::Result<ResolverThread> {
        let (way, stacks) = mpsc::channel::<Unresolved>();
        threads::spawn("loopmon-stacks", move || {
            let mut kept: Option<Resolver> = None;
            loop {
                let stack = match kept {
                    Some(_) => stacks.recv_timeout(KEPT_FOR),
                    None => stacks.recv().map_err(RecvTimeoutError::from),
                };
                match stack {
                    Ok(stack) => {
                        let resolver = kept.get_or_insert_default();
                        // What reads debug information may stumble over it.
                        catch_unwind(AssertUnwindSafe(|| stack.resolve(resolver))).ok();
                        done();
                    }
                    Err(RecvTimeoutError::Timeout) => kept = None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(ResolverThread(way))
    }

    pub(crate) fn resolve(&self, stack: Unresolved) {
        // It fails only if the thread is gone; then the stack counts as resolved, to nothing.
        self.0.send(stack).ok();
    }
}
