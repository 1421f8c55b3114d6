//! Threads of loopmon's own that run what must not run on the monitored runtime.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Kind};
use crate::per_process::PerProcess;
use crate::threads;

/// A thread for one purpose, for the whole process: there while somebody holds it.
#[derive(Debug)]
pub(crate) struct SharedThread {
    /// Of the thread; Linux cuts it after 15 bytes.
    name: &'static str,
    /// A fork has none of them.
    thread: PerProcess<Mutex<Weak<OwnThread>>>,
}

/// A thread with a runtime of loopmon's own. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OwnThread {
    runtime: Handle,
    _alive: oneshot::Sender<()>,
}

impl SharedThread {
    pub(crate) const fn new(name: &'static str) -> SharedThread {
        SharedThread {
            name,
            thread: PerProcess::new(|| Mutex::new(Weak::new())),
        }
    }

    fn current(&self) -> MutexGuard<'_, Weak<OwnThread>> {
        self.thread
            .get()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread there is, or a new one.
    pub(crate) fn thread(&self) -> Result<Arc<OwnThread>, Error> {
        let there = self.current().upgrade();
        if let Some(thread) = there {
            return Ok(thread);
        }
        let new = Arc::new(OwnThread::start(self.name)?);
        let mut current = self.current();
        // Another may have started one meanwhile. Which of the two is dropped, is after the lock.
        let there = current.upgrade();
        match there {
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
        let started = threads::spawn(name, move || {
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
            _alive: alive,
        })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
