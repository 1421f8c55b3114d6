//! The thread that resolves stacks to functions, files and lines. How it does so is the platform's.
//!
//! Resolving takes time, and locks that a stuck thread may hold, so nobody waits for this thread for long.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::platform::Resolver;
use super::snapshot::Unresolved;
use crate::threads;

/// How long after the last stack the resolver is kept, with what it has read of the program.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Sends stacks to the thread. After this is dropped, the thread resolves what it was sent, and ends.
#[derive(Debug)]
pub(crate) struct ResolverThread(Sender<Unresolved>);

impl ResolverThread {
    /// Starts the thread, which calls `done` after each stack, even if resolving it failed.
    pub(crate) fn start(done: impl Fn() + Send + 'static) -> io::Result<ResolverThread> {
        let (sender, stacks) = mpsc::channel();
        threads::spawn("loopmon-stacks", move || run(&stacks, done))?;
        Ok(ResolverThread(sender))
    }

    pub(crate) fn resolve(&self, stack: Unresolved) {
        // Fails only if the thread has ended. The stack then counts as resolved, without a trace.
        self.0.send(stack).ok();
    }
}

fn run(stacks: &Receiver<Unresolved>, done: impl Fn()) {
    let mut kept: Option<Resolver> = None;
    loop {
        let stack = match kept {
            Some(_) => stacks.recv_timeout(KEPT_FOR),
            None => stacks.recv().map_err(RecvTimeoutError::from),
        };
        match stack {
            Ok(stack) => {
                let resolver = kept.get_or_insert_default();
                // The libraries that read debug information may panic on what is corrupt.
                catch_unwind(AssertUnwindSafe(|| stack.resolve(resolver))).ok();
                done();
            }
            Err(RecvTimeoutError::Timeout) => kept = None,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
