//! Threads of loopmon's own that run what must not run on the monitored runtime.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Kind};

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
    /// A fork has a copy of this, but not the thread.
    process: u32,
    _alive: oneshot::Sender<()>,
}

impl Purpose {
    pub(crate) const fn new(name: &'static str) -> Purpose {
        Purpose {
            name,
            thread: Mutex::new(Weak::new()),
        }
    }

    fn current(&self) -> MutexGuard<'_, Weak<OwnThread>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread there is, or a new one.
    pub(crate) fn thread(&self) -> Result<Arc<OwnThread>, Error> {
        let there = self.current().upgrade();
        if let Some(thread) = there.filter(|thread| thread.is_of_this_process()) {
            return Ok(thread);
        }
        let new = Arc::new(OwnThread::start(self.name)?);
        let mut current = self.current();
        // Another may have started one meanwhile. Which of the two is dropped, is after the lock.
        let there = current.upgrade();
        match there.filter(|thread| thread.is_of_this_process()) {
            Some(thread) => Ok(thread),
            None => {
                *current = Arc::downgrade(&new);
                Ok(new)
            }
        }
    }
}

impl OwnThread {
    /// Fails if the system refuses the thread, or the file descriptors of its runtime.
    fn start(name: &str) -> Result<OwnThread, Error> {
        // Before the thread, so that it need not be ended if this fails.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|refused| Error::new(Kind::DescriptorsRefused, refused))?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        // If there is no thread the runtime comes back: dropping one inside another panics.
        let (give, take) = mpsc::sync_channel::<Runtime>(1);
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Ok(runtime) = take.recv() {
                // Nothing is ever sent: it fails once the sender is gone.
                runtime.block_on(ended).ok();
            }
        });
        if let Err(refused) = started {
            runtime.shutdown_background();
            return Err(Error::new(Kind::ThreadRefused, refused));
        }
        // It is there to take it.
        give.send(runtime).ok();
        Ok(OwnThread {
            runtime: handle,
            process: process::id(),
            _alive: alive,
        })
    }

    fn is_of_this_process(&self) -> bool {
        self.process == process::id()
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
