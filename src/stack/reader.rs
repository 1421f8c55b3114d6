//! The thread that reads stacks: it finds out which calls the captured bytes are.
//!
//! That takes time, and locks that a stuck thread may hold, so nobody waits for it for long.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::platform::{Capture, Resolver};
use super::{Shot, Stage, Trace};
use crate::threads;

/// For how long after the last stack what was read of the program is kept for the next one.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The way to the thread. When this is dropped, it reads what it was given, and ends with all that it
/// holds of the program.
#[derive(Debug)]
pub(crate) struct Reader(Sender<Unread>);

impl Reader {
    /// `done` is called after each stack, whatever has come of it.
    pub(crate) fn start(done: impl Fn() + Send + 'static) -> io::Result<Reader> {
        let (way, stacks) = mpsc::channel::<Unread>();
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
                        catch_unwind(AssertUnwindSafe(|| stack.read(resolver))).ok();
                        done();
                    }
                    Err(RecvTimeoutError::Timeout) => kept = None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Reader(way))
    }

    pub(crate) fn read(&self, stack: Unread) {
        // It fails only if the thread is gone; then the stack counts as read, to nothing.
        self.0.send(stack).ok();
    }
}

/// A stack on its way to be read. However it ends, its shot then counts as read.
#[derive(Debug)]
pub(crate) struct Unread {
    shot: Arc<Shot>,
    capture: Option<Capture>,
    trace: Option<Arc<Trace>>,
}

impl Unread {
    pub(super) fn new(shot: Arc<Shot>, capture: Option<Capture>) -> Unread {
        Unread {
            shot,
            capture,
            trace: None,
        }
    }

    fn read(mut self, resolver: &mut Resolver) {
        let capture = self.capture.take();
        self.trace = capture.map(|capture| Arc::new(resolver.resolve(capture)));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        *self.shot.stage() = Stage::Read(self.trace.take());
    }
}

#[cfg(test)]
impl Unread {
    /// Of a stack that shows nothing.
    pub(crate) fn empty() -> (Arc<Shot>, Unread) {
        let shot = Arc::new(Shot {
            identity: None,
            shows_calls: true,
            stage: std::sync::Mutex::new(Stage::BeingRead),
        });
        (Arc::clone(&shot), Unread::new(shot, None))
    }

    pub(crate) fn come_out(mut self, trace: &Arc<Trace>) {
        self.trace = Some(Arc::clone(trace));
    }
}
