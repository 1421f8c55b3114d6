//! What all handles on one monitor share: its settings, and what it is attached to. A run is in `run.rs`; what
//! users call is in `monitor.rs`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::runtime::Handle;

use super::attachment::{Attachment, Channels, Driver, RunId};
use super::calls;
use super::engine::Engine;
use super::exclusive::Exclusive;
use super::latest;
use super::since;
use super::stall_channel::Post;
use super::stalls::WatchKind;
use crate::culprits::{Account, Culprits};
use crate::error::{Error, Kind};
use crate::own_thread::{OwnThread, SharedThread};
use crate::polls::Demand;
use crate::runtime::{TaskTracker, Tasks};
use crate::sample::Sample;
use crate::stack::StackCapture;
use crate::stall::Stall;
use crate::sync::Lock;
use crate::watchdog::{Outlet, PollRequest, Request, Watch};

static STALL_CALLBACKS: SharedThread = SharedThread::new("loopmon-callbacks");

/// What all handles on a monitor share.
pub(super) struct Shared {
    pub(super) name: Option<Arc<str>>,
    pub(super) interval: Duration,
    pub(super) capacity: usize,
    pub(super) stall_capacity: usize,
    pub(super) attachment: Lock<Attachment>,
    pub(super) since: since::Reader,
    pub(super) latest: latest::Reader,
    pub(super) engine: Exclusive<Engine>,
    pub(super) callbacks: Option<calls::Shared<Sample>>,
    pub(super) stall_callbacks: Option<calls::Shared<Stall>>,
    pub(super) stall_threshold: Duration,
    /// How many stalls are reported and not over.
    pub(super) open_stalls: Arc<AtomicUsize>,
    pub(super) rescue_timers: bool,
    pub(super) stack_capture: StackCapture,
    /// Whether a test of the user's reads the stalls.
    pub(super) is_for_test: bool,
    /// What the monitor's instrumented futures need to know.
    pub(super) demand: Arc<Demand>,
    /// Who cost how much, in all runs.
    pub(super) account: Arc<Account>,
    /// Has stalls detected for the account, once that was asked for.
    pub(super) wanted_by_account: Lock<Option<Post>>,
    pub(super) tasks: Tasks,
    /// Counts what policies admit and refuse.
    #[cfg(any(feature = "tower", feature = "_feed"))]
    pub(super) admissions: Arc<crate::admissions::Admissions>,
}

/// Nobody can attach the monitor any more.
impl Drop for Shared {
    fn drop(&mut self) {
        // The watch of futures would go on for as long as the stream has a reader.
        let stalls = self.attachment.with(|attachment| attachment.take_stalls());
        if let Some(stalls) = stalls {
            stalls.end();
        }
    }
}

impl Shared {
    pub(super) fn driver(&self) -> Option<Driver> {
        self.attachment.with(|attachment| attachment.driver())
    }

    /// Ends the run, which was dropped.
    pub(super) fn end(&self, id: RunId) {
        if !self.attachment.with(|attachment| attachment.dropped(id)) {
            return;
        }
        let mut channels = Channels::new(self.capacity);
        let run = self.attachment.with(|attachment| {
            let current = attachment.is_current(id);
            current.then(|| attachment.stop(&mut channels)).flatten()
        });
        channels.end();
        if let Some(run) = run {
            run.end();
        }
    }

    /// Returns the tracker that the monitor's tasks on `runtime` must hold.
    pub(super) fn own_tasks(&self, runtime: &Handle) -> TaskTracker {
        TaskTracker::new(runtime, self.tasks.clone())
    }

    /// Returns the thread that calls the stall callbacks, if there are any.
    pub(super) fn stall_callbacks_thread(&self) -> Result<Option<Arc<OwnThread>>, Error> {
        let callbacks = self.stall_callbacks.as_ref();
        callbacks.map(|_| STALL_CALLBACKS.thread()).transpose()
    }

    /// Returns the channel of stalls, and the current run.
    pub(super) fn post(&self) -> (Post, Option<RunId>) {
        let mut new = None;
        loop {
            let mut old = None;
            let post = self
                .attachment
                .with(|attachment| attachment.post(new.as_ref(), &mut old));
            match post {
                Some(post) => return post,
                None => new = Some(Post::open(self.outlet())),
            }
        }
    }

    fn outlet(&self) -> Outlet {
        let open_stalls = Arc::clone(&self.open_stalls);
        let outlet = Outlet::new(self.stall_capacity, self.account.recorder(), open_stalls);
        if self.is_for_test {
            outlet.for_test()
        } else {
            outlet
        }
    }

    /// Takes a snapshot of the account. From the first one on, stalls are detected for it.
    pub(super) fn culprits(&self) -> Culprits {
        if !self.is_wanted_by_account() {
            self.want_for_account();
            // If the system refuses the threads, the next run tries again.
            self.ensure_detection().ok();
        }
        self.account.snapshot()
    }

    fn is_wanted_by_account(&self) -> bool {
        self.wanted_by_account.with(|wanted| wanted.is_some())
    }

    /// Asks for the stalls of the present or the next run.
    fn want_for_account(&self) {
        let (post, _) = self.post();
        let earlier = self.wanted_by_account.with(|wanted| wanted.replace(post));
        drop(earlier);
    }

    /// Starts the detection of stalls in a run that has just begun, if there is a stream or callback.
    pub(super) fn begin_detection(
        &self,
        id: RunId,
        thread: Option<Arc<OwnThread>>,
    ) -> Result<(), Error> {
        if self.is_wanted_by_account() {
            self.want_for_account();
        }
        let (Some(callbacks), Some(thread)) = (&self.stall_callbacks, thread) else {
            return self.ensure_detection();
        };
        let (post, run) = self.post();
        if run != Some(id) {
            return Ok(());
        }
        let stalls = post.subscribe();
        self.ensure_detection()?;
        let runtime = thread.runtime().clone();
        let tasks = self.own_tasks(&runtime);
        calls::serve(callbacks.clone(), stalls, &runtime, tasks, thread);
        Ok(())
    }

    /// Starts the detection of stalls if there is a stream or callback: of a runtime if there is a current run,
    /// and of futures if there are any.
    pub(super) fn ensure_detection(&self) -> Result<(), Error> {
        let wanted = self.attachment.with(|attachment| attachment.wanted());
        let watched = wanted.map_or(Ok(()), |(post, runtime, installer)| {
            post.ensure_started(WatchKind::Runtime, |outlet| {
                Watch::start(Request {
                    tasks: self.own_tasks(&runtime),
                    runtime,
                    name: self.name.clone(),
                    threshold: self.stall_threshold,
                    rescue_timers: self.rescue_timers,
                    stack_capture: self.stack_capture.clone(),
                    outlet,
                    installer,
                })
            })
        });
        watched
            .and_then(|()| self.ensure_future_detection())
            .map_err(|refused| Error::new(Kind::ThreadRefused, refused))
    }

    /// Starts the detection of stalls of futures, if there are any, and a stream or callback.
    pub(super) fn ensure_future_detection(&self) -> io::Result<()> {
        if !self.demand.is_unmet() {
            return Ok(());
        }
        let wanted = self
            .attachment
            .with(|attachment| attachment.wanted_anyway());
        wanted.map_or(Ok(()), |post| {
            post.ensure_started(WatchKind::Futures, |outlet| {
                Watch::start_polls(PollRequest {
                    demand: Arc::clone(&self.demand),
                    name: self.name.clone(),
                    threshold: self.stall_threshold,
                    stack_capture: self.stack_capture.clone(),
                    outlet,
                })
            })
        })
    }
}
