//! Loopmon's own threads with a runtime, for whatever must not run on a monitored runtime. The
//! watchdog's thread has none and is elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Kind};
use crate::per_process::PerProcess;
use crate::threads;

/// A thread for one purpose that the whole process shares. It runs while somebody holds it.
#[derive(Debug)]
pub(crate) struct SharedThread {
    /// The name of the thread. Linux truncates it to 15 bytes.
    name: &'static str,
    /// The thread, if it runs. The child of a fork starts its own.
    thread: PerProcess<Mutex<Weak<OwnThread>>>,
}

/// A thread with its own runtime. It ends when this is dropped.
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

    /// Returns the running thread, or starts one.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread, or the file descriptors of its runtime.
    pub(crate) fn thread(&self) -> Result<Arc<OwnThread>, Error> {
        let there = self.current().upgrade();
        if let Some(thread) = there {
            return Ok(thread);
        }
        let new = Arc::new(OwnThread::start(self.name)?);
        let mut current = self.current();
        // Another caller may have started one meanwhile. The superfluous one is dropped after the
        // lock.
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
    fn start(name: &str) -> Result<OwnThread, Error> {
        // The runtime comes first: if it fails, there is no thread to end.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|refused| Error::new(Kind::DescriptorsRefused, refused))?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        // The thread takes the runtime from a channel, so that it is still here if the thread is
        // refused: dropping a runtime inside another one panics.
        let (give, take) = mpsc::sync_channel::<Runtime>(1);
        let started = threads::spawn(name, move || {
            if let Ok(runtime) = take.recv() {
                // Nothing is ever sent: `ended` fails once the sender is dropped.
                runtime.block_on(ended).ok();
            }
        });
        if let Err(refused) = started {
            runtime.shutdown_background();
            return Err(Error::new(Kind::ThreadRefused, refused));
        }
        // The thread has started and receives it.
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
