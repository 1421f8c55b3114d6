//! The thread that runs the callbacks of stalls.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
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
        let (alive, ended) = oneshot::channel();
        // If there is no thread there must be no runtime: dropping one inside another panics.
        let (give, take) = mpsc::sync_channel::<Runtime>(1);
        thread::Builder::new()
            .name("loopmon-callbacks".to_owned())
            .spawn(move || {
                if let Ok(runtime) = take.recv() {
                    // Nothing is ever sent: it fails once the sender is gone.
                    runtime.block_on(ended).ok();
                }
            })?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = Arc::new(CallbackThread {
            runtime: runtime.handle().clone(),
            _alive: alive,
        });
        // It is there to take it.
        give.send(runtime).ok();
        *current = Arc::downgrade(&thread);
        Ok(thread)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
