//! Threads of loopmon's own that run what must not run on the monitored runtime.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// A thread for one purpose, for the whole process: there while somebody holds it.
#[derive(Debug)]
pub(crate) struct Purpose {
    /// Of the thread; Linux cuts it after 15 bytes.
    name: &'static str,
    thread: Mutex<Weak<OwnThread>>,
}

/// A thread with a runtime of loopmon's own. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OwnThread {
    runtime: Handle,
    _alive: oneshot::Sender<()>,
}

impl Purpose {
    pub(crate) const fn new(name: &'static str) -> Purpose {
        Purpose {
            name,
            thread: Mutex::new(Weak::new()),
        }
    }

    /// The thread there is, or a new one.
    pub(crate) fn thread(&self) -> io::Result<Arc<OwnThread>> {
        let mut current = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = current.upgrade() {
            return Ok(thread);
        }
        let thread = Arc::new(OwnThread::start(self.name)?);
        *current = Arc::downgrade(&thread);
        Ok(thread)
    }
}

impl OwnThread {
    fn start(name: &str) -> io::Result<OwnThread> {
        let (alive, ended) = oneshot::channel();
        // If there is no thread there must be no runtime: dropping one inside another panics.
        let (give, take) = mpsc::sync_channel::<Runtime>(1);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if let Ok(runtime) = take.recv() {
                    // Nothing is ever sent: it fails once the sender is gone.
                    runtime.block_on(ended).ok();
                }
            })?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = OwnThread {
            runtime: runtime.handle().clone(),
            _alive: alive,
        };
        // It is there to take it.
        give.send(runtime).ok();
        Ok(thread)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
