//! The thread that runs the callbacks of stalls.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

static THREAD: Mutex<Weak<CallbackThread>> = Mutex::new(Weak::new());

/// A thread with a runtime of loopmon's own: a callback that tells of a stuck runtime must not run
/// on it. One for the whole process; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct CallbackThread {
    runtime: Handle,
    _alive: oneshot::Sender<()>,
}

impl CallbackThread {
    /// The one there is, or a new one.
    pub(crate) fn get() -> io::Result<Arc<CallbackThread>> {
        let mut current = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = current.upgrade() {
            return Ok(thread);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (alive, ended) = oneshot::channel();
        let thread = Arc::new(CallbackThread {
            runtime: runtime.handle().clone(),
            _alive: alive,
        });
        thread::Builder::new()
            .name("loopmon-callbacks".to_owned())
            // Nothing is ever sent: it fails once the sender is gone.
            .spawn(move || runtime.block_on(ended).ok())?;
        *current = Arc::downgrade(&thread);
        Ok(thread)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
