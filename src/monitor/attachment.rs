//! What a monitor is attached to, and the channels of the present or the next run.

use std::convert::Infallible;
use std::sync::Arc;

use futures::channel::oneshot;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::interest::Channel;
use super::stalls::Stalls;
use super::work::Work;
use crate::broadcast::Publisher;
use crate::error::{Error, Kind};
use crate::sample::Sample;

#[derive(Debug)]
pub(super) struct Attachment {
    capacity: usize,
    channels: Channels,
    run: Option<Active>,
    runs: u64,
}

/// Where the present or the next run publishes.
#[derive(Debug)]
struct Channels {
    samples: Publisher<Sample>,
    /// Once somebody has asked for them.
    stalls: Option<Channel>,
}

impl Channels {
    fn new(capacity: usize) -> Channels {
        Channels {
            samples: Publisher::new(capacity),
            stalls: None,
        }
    }

    /// Ends every stream after what is buffered for it.
    fn end(self) {
        self.samples.close();
        if let Some(stalls) = self.stalls {
            stalls.end();
        }
    }
}

/// What a run leaves behind.
pub(super) struct Ended {
    channels: Channels,
    run: Option<Active>,
}

impl Ended {
    /// Ends the streams, and drops what the run was doing.
    pub(super) fn end(self) {
        self.channels.end();
        if let Some(run) = self.run {
            run.work.stop();
        }
    }
}

/// The run that is on.
#[derive(Debug)]
struct Active {
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

/// A run that has just begun.
pub(super) struct Begun {
    pub(super) id: RunId,
    /// Cancelled when it is over.
    pub(super) over: oneshot::Receiver<Infallible>,
}

impl Attachment {
    pub(super) fn new(capacity: usize) -> Attachment {
        Attachment {
            capacity,
            channels: Channels::new(capacity),
            run: None,
            runs: 0,
        }
    }

    pub(super) fn publisher(&self) -> &Publisher<Sample> {
        &self.channels.samples
    }

    /// The channel of stalls, if somebody has asked for it.
    pub(super) fn stalls(&self) -> Option<&Channel> {
        self.channels.stalls.as_ref()
    }

    pub(super) fn subscribe_stalls(&mut self) -> Stalls {
        if let Some(stalls) = self.stalls().and_then(Channel::subscribe) {
            return stalls;
        }
        let (channel, stalls) = Channel::open(self.capacity);
        self.channels.stalls = Some(channel);
        stalls
    }

    /// For the streams of stalls alone to be ended, which runs their readers' wakers.
    pub(super) fn take_stalls(&mut self) -> Option<Channel> {
        self.channels.stalls.take()
    }

    /// The runtime of the run that is on, once it has taken it.
    pub(super) fn runtime(&self) -> Option<&Handle> {
        let run = self.run.as_ref()?;
        (run.state == State::Accepted).then_some(&run.runtime)
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

    pub(super) fn begin(
        &mut self,
        driver: Driver,
        runtime: Handle,
        now: Instant,
        work: Arc<Work>,
    ) -> Result<Begun, Error> {
        match self.driver() {
            Some(Driver::Task) => return Err(Kind::AlreadyInstalled.into()),
            Some(Driver::Caller) => return Err(Kind::AlreadyRunning.into()),
            None => {}
        }
        let (on, over) = oneshot::channel();
        let id = RunId(self.runs);
        self.runs += 1;
        self.run = Some(Active {
            id,
            driver,
            runtime,
            since: now,
            work,
            state: State::Offered,
            _on: on,
        });
        Ok(Begun { id, over })
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
            Some(run) if run.state == State::Refused => {
                self.run = None;
                Err(Kind::RuntimeShutDown.into())
            }
            Some(run) => {
                run.state = State::Accepted;
                Ok(())
            }
            // It has run, and been stopped, already.
            None => Ok(()),
        }
    }

    /// The run was dropped. Returns what is to be ended: nothing if it was stopped before, or if it
    /// was never accepted, as its readers may be served by another runtime yet.
    pub(super) fn end(&mut self, id: RunId) -> Option<Ended> {
        let run = self.run.as_mut().filter(|run| run.id == id)?;
        if run.state == State::Offered {
            run.state = State::Refused;
            return None;
        }
        Some(self.stop())
    }

    /// Detaches. Returns what is to be ended, once nothing is locked.
    #[must_use]
    pub(super) fn stop(&mut self) -> Ended {
        Ended {
            run: self.run.take(),
            channels: self.renew(),
        }
    }

    /// New channels for the next run; returns the old ones.
    fn renew(&mut self) -> Channels {
        std::mem::replace(&mut self.channels, Channels::new(self.capacity))
    }
}
