//! What a monitor is attached to, and the channels of the present or the next run.
//!
//! All of it is behind one lock. So what is to be dropped, closed or woken is handed out.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

use futures::channel::oneshot;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::stall_channel::{Channel, Post};
use super::work::Work;
use crate::broadcast::Publisher;
use crate::error::{Error, Kind};
use crate::foreign;
use crate::sample::Sample;

#[derive(Debug)]
pub(super) struct Attachment {
    channels: Channels,
    run: Option<Active>,
    runs: u64,
}

/// Where the present or the next run publishes.
#[derive(Debug)]
pub(super) struct Channels {
    samples: Publisher<Sample>,
    /// Once somebody has asked for them.
    stalls: Option<Channel>,
}

impl Channels {
    pub(super) fn new(capacity: usize) -> Channels {
        Channels {
            samples: Publisher::new(capacity),
            stalls: None,
        }
    }

    /// Ends every stream after what is buffered for it.
    pub(super) fn end(self) {
        self.samples.close();
        if let Some(stalls) = self.stalls {
            stalls.end();
        }
    }
}

/// A run that is on.
#[derive(Debug)]
pub(super) struct Active {
    id: RunId,
    driver: Driver,
    runtime: Handle,
    since: Instant,
    work: Arc<Work>,
    state: State,
    /// Dropped with this.
    _on: oneshot::Sender<Infallible>,
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
enum State {
    /// Given to a runtime, which may turn out to have shut down.
    Offered,
    /// Dropped by the runtime instead of being accepted.
    Refused,
    Accepted,
}

impl Active {
    /// With what is cancelled when it is over.
    pub(super) fn new(
        driver: Driver,
        runtime: Handle,
        now: Instant,
        work: Arc<Work>,
    ) -> (Active, oneshot::Receiver<Infallible>) {
        let (on, over) = oneshot::channel();
        let active = Active {
            id: RunId(0),
            driver,
            runtime,
            since: now,
            work,
            state: State::Offered,
            _on: on,
        };
        (active, over)
    }

    /// Drops what it was doing, and the handle on its runtime: if it is the last, that drops what the
    /// runtime's hooks own.
    pub(super) fn end(self) {
        self.work.stop();
        foreign::discard(self);
    }
}

impl Attachment {
    pub(super) fn new(channels: Channels) -> Attachment {
        Attachment {
            channels,
            run: None,
            runs: 0,
        }
    }

    pub(super) fn samples(&self) -> Publisher<Sample> {
        self.channels.samples.clone()
    }

    /// The channel of stalls and the run that is on. If there is no channel, `new` becomes it, if
    /// there is one; and what it replaces is put into `old`.
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

    /// Who wants stalls to be looked for, and on which runtime: that of the run that is on, once it
    /// has taken it.
    pub(super) fn wanted(&self) -> Option<(Post, Handle)> {
        let run = self.run.as_ref()?;
        let accepted = run.state == State::Accepted;
        let post = self.channels.stalls.as_ref().filter(|_| accepted)?.post()?;
        Some((post, run.runtime.clone()))
    }

    /// Whether this run is on.
    pub(super) fn is_on(&self, id: RunId) -> bool {
        self.run.as_ref().is_some_and(|run| run.id == id)
    }

    /// Who drives the run that is on, if one is.
    pub(super) fn driver(&self) -> Option<Driver> {
        self.run.as_ref().map(|run| run.driver)
    }

    /// When the run that is on began.
    pub(super) fn since(&self) -> Option<Instant> {
        self.run.as_ref().map(|run| run.since)
    }

    /// An error if a run is on.
    pub(super) fn check_free(&self) -> Result<(), Error> {
        match self.driver() {
            Some(Driver::Task) => Err(Kind::AlreadyInstalled.into()),
            Some(Driver::Caller) => Err(Kind::AlreadyRunning.into()),
            None => Ok(()),
        }
    }

    /// Takes `new`, unless a run is on. Returns where it is to publish.
    pub(super) fn begin(
        &mut self,
        new: &mut Option<Active>,
    ) -> Result<(RunId, Publisher<Sample>), Error> {
        self.check_free()?;
        let id = RunId(self.runs);
        self.runs += 1;
        self.run = new.take().map(|run| Active { id, ..run });
        Ok((id, self.samples()))
    }

    /// The run is being polled, so somebody has taken it.
    pub(super) fn accept(&mut self, id: RunId) {
        if let Some(run) = self.run.as_mut().filter(|run| run.id == id) {
            run.state = State::Accepted;
        }
    }

    /// The runtime has been given the run: an error if it dropped it on the spot.
    pub(super) fn confirm(&mut self, id: RunId) -> Result<(), Error> {
        match self.run.as_mut().filter(|run| run.id == id) {
            Some(run) if run.state == State::Refused => Err(Kind::RuntimeShutDown.into()),
            Some(run) => {
                run.state = State::Accepted;
                Ok(())
            }
            // It has run, and been stopped, already.
            None => Ok(()),
        }
    }

    /// The run was dropped. Returns whether it is to be ended: not if it was before, nor if it was
    /// never accepted, as its readers may be served by another runtime yet.
    pub(super) fn dropped(&mut self, id: RunId) -> bool {
        match self.run.as_mut().filter(|run| run.id == id) {
            Some(run) if run.state == State::Offered => {
                run.state = State::Refused;
                false
            }
            run => run.is_some(),
        }
    }

    /// Detaches from a run that has not come about; the readers wait for the next.
    pub(super) fn retract(&mut self, id: RunId) -> Option<Active> {
        self.run.take_if(|run| run.id == id)
    }

    /// Detaches. `channels` are for the next run, and are exchanged for those to be ended.
    pub(super) fn stop(&mut self, channels: &mut Channels) -> Option<Active> {
        mem::swap(&mut self.channels, channels);
        self.run.take()
    }
}
