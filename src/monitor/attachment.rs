//! What a monitor is attached to, and the channels of the current or the next run.
//!
//! All of it is behind one lock. So its methods return what must be dropped, closed or woken, and the caller
//! does that after it has released the lock.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

use futures::channel::oneshot;
use tokio::runtime::Handle;

use super::run_future::RunFuture;
use super::since::{self, Since};
use super::stall_channel::{Channel, Post};
use crate::broadcast::Publisher;
use crate::error::{Error, Kind};
use crate::foreign;
use crate::sample::Sample;
use crate::watchdog::Installer;

#[derive(Debug)]
pub(super) struct Attachment {
    channels: Channels,
    run: Option<RunRecord>,
    runs: u64,
    /// Says since when there is a run, to those who must not wait for the lock.
    since: since::Writer,
}

/// Where the current or the next run publishes.
#[derive(Debug)]
pub(super) struct Channels {
    samples: Publisher<Sample>,
    /// Holds the channel of stalls, once there was a request for it.
    stalls: Option<Channel>,
}

impl Channels {
    pub(super) fn new(capacity: usize) -> Channels {
        Channels {
            samples: Publisher::new(capacity),
            stalls: None,
        }
    }

    /// Ends every stream after the items that are buffered for it.
    pub(super) fn end(self) {
        self.samples.close();
        if let Some(stalls) = self.stalls {
            stalls.end();
        }
    }
}

/// The current run.
#[derive(Debug)]
pub(super) struct RunRecord {
    id: RunId,
    driver: Driver,
    runtime: Handle,
    /// The thread that has begun the run.
    installer: Option<Installer>,
    since: Since,
    future: Arc<RunFuture>,
    acceptance: Acceptance,
    /// Ends the task that waits for the end of the run, when this is dropped.
    _alive: oneshot::Sender<Infallible>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunId(u64);

/// Who polls a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    Task,
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acceptance {
    /// The run was given to a runtime, which may have shut down.
    Offered,
    /// The runtime dropped the run.
    Refused,
    /// The runtime or the caller polls the run.
    Accepted,
}

impl RunRecord {
    /// Returns a record, and a receiver that is cancelled when the run is over.
    pub(super) fn new(
        driver: Driver,
        runtime: Handle,
        installer: Option<Installer>,
        since: Since,
        future: Arc<RunFuture>,
    ) -> (RunRecord, oneshot::Receiver<Infallible>) {
        let (alive, over) = oneshot::channel();
        let record = RunRecord {
            id: RunId(0),
            driver,
            runtime,
            installer,
            since,
            future,
            acceptance: Acceptance::Offered,
            _alive: alive,
        };
        (record, over)
    }

    /// Drops the run's future and the handle on its runtime. If that is the last handle, it also drops what
    /// the runtime's hooks own, which is foreign code.
    pub(super) fn end(self) {
        self.future.stop();
        foreign::discard(self);
    }
}

impl Attachment {
    pub(super) fn new(channels: Channels, since: since::Writer) -> Attachment {
        Attachment {
            channels,
            run: None,
            runs: 0,
            since,
        }
    }

    pub(super) fn samples(&self) -> Publisher<Sample> {
        self.channels.samples.clone()
    }

    /// Returns the channel of stalls and the current run. If there is no channel, `new` becomes the channel, and
    /// `old` receives the one that it replaces.
    pub(super) fn post(
        &mut self,
        new: Option<&Post>,
        old: &mut Option<Channel>,
    ) -> Option<(Post, Option<RunId>)> {
        let run = self.run.as_ref().map(|run| run.id);
        if let Some(post) = self.channels.stalls.as_ref().and_then(Channel::post) {
            return Some((post, run));
        }
        let new = new?.clone();
        *old = self.channels.stalls.replace(new.channel());
        Some((new, run))
    }

    /// Returns who wants reports of stalls, and the runtime to watch: that of the current run, once it has
    /// accepted the run. Also returns the thread that has begun the run, if it may poll a root future.
    pub(super) fn wanted(&self) -> Option<(Post, Handle, Option<Installer>)> {
        let run = self.run.as_ref()?;
        let accepted = run.acceptance == Acceptance::Accepted;
        let post = self.channels.stalls.as_ref().filter(|_| accepted)?.post()?;
        Some((post, run.runtime.clone(), run.installer.clone()))
    }

    /// Takes the channel of stalls out.
    pub(super) fn take_stalls(&mut self) -> Option<Channel> {
        self.channels.stalls.take()
    }

    /// Returns who wants reports of stalls, of a runtime or not.
    pub(super) fn wanted_anyway(&self) -> Option<Post> {
        self.channels.stalls.as_ref()?.post()
    }

    /// Returns whether this is the current run.
    pub(super) fn is_current(&self, id: RunId) -> bool {
        self.run.as_ref().is_some_and(|run| run.id == id)
    }

    /// Returns who polls the current run, if there is one.
    pub(super) fn driver(&self) -> Option<Driver> {
        self.run.as_ref().map(|run| run.driver)
    }

    /// Returns an error if there is a current run.
    pub(super) fn check_free(&self) -> Result<(), Error> {
        match self.driver() {
            Some(Driver::Task) => Err(Kind::AlreadyInstalled.into()),
            Some(Driver::Caller) => Err(Kind::AlreadyRunning.into()),
            None => Ok(()),
        }
    }

    /// Makes `new` the current run, unless there is one. Returns where it publishes.
    pub(super) fn begin(
        &mut self,
        new: &mut Option<RunRecord>,
    ) -> Result<(RunId, Publisher<Sample>), Error> {
        self.check_free()?;
        let id = RunId(self.runs);
        self.runs += 1;
        self.run = new.take().map(|run| RunRecord { id, ..run });
        self.since.write(self.run.as_ref().map(|run| run.since));
        Ok((id, self.samples()))
    }

    /// Records that the run is polled, so its runtime or caller has accepted it.
    pub(super) fn accept(&mut self, id: RunId) {
        if let Some(run) = self.run.as_mut().filter(|run| run.id == id) {
            run.acceptance = Acceptance::Accepted;
        }
    }

    /// Records that the runtime was given the run. Returns an error if the runtime dropped it on the spot.
    pub(super) fn confirm(&mut self, id: RunId) -> Result<(), Error> {
        match self.run.as_mut().filter(|run| run.id == id) {
            Some(run) if run.acceptance == Acceptance::Refused => Err(Kind::RuntimeShutDown.into()),
            Some(run) => {
                run.acceptance = Acceptance::Accepted;
                Ok(())
            }
            // The run has been stopped already.
            None => Ok(()),
        }
    }

    /// Records that the run was dropped. Returns whether to end it: not if it has ended before, and not if it
    /// was never accepted, as another runtime may still serve its readers.
    pub(super) fn dropped(&mut self, id: RunId) -> bool {
        match self.run.as_mut().filter(|run| run.id == id) {
            Some(run) if run.acceptance == Acceptance::Offered => {
                run.acceptance = Acceptance::Refused;
                false
            }
            run => run.is_some(),
        }
    }

    /// Detaches from a run that failed to start. Its readers wait for the next run.
    pub(super) fn retract(&mut self, id: RunId) -> Option<RunRecord> {
        let run = self.run.take_if(|run| run.id == id)?;
        self.since.write(None);
        Some(run)
    }

    /// Detaches. Swaps `channels`, which are for the next run, with the ones that the caller has to end.
    pub(super) fn stop(&mut self, channels: &mut Channels) -> Option<RunRecord> {
        mem::swap(&mut self.channels, channels);
        self.since.write(None);
        self.run.take()
    }
}
