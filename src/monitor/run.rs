//! One run of a monitor, from `install` or `run` to its end.

use std::convert::Infallible;
use std::sync::Arc;

use futures::channel::oneshot;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::attachment::{Active, Driver, RunId};
use super::calls;
use super::engine::{Engine, Output};
use super::lent::{Lender, Lent};
use super::readings::Readings;
use super::samples::Samples;
use super::shared::Shared;
use super::work::Work;
use crate::broadcast::Publisher;
use crate::clock;
use crate::error::Error;
use crate::foreign::Foreign;
use crate::own_thread::OwnThread;
use crate::runtime::RuntimeTasks;
use crate::sample::Sample;

/// A run that has begun. Dropping it, polled or not, ends it.
pub(super) struct Run {
    attached: Attached,
    publisher: Publisher<Sample>,
    work: Arc<Work>,
    over: oneshot::Receiver<Infallible>,
}

impl Run {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        runtime: &Handle,
        driver: Driver,
    ) -> Result<Run, Error> {
        shared
            .attachment
            .with(|attachment| attachment.check_free())?;
        let interval = shared.interval;
        // An earlier run lets go of it in the moment in which it is stopped.
        let mut engine = shared.engine.try_take();
        if let Some(engine) = &mut engine {
            let _entered = runtime.enter();
            engine.start(interval)?;
        }
        let readings = Readings::new(runtime, RuntimeTasks::of(runtime));
        let work = Arc::new(Work::default());
        let (active, over) = Active::new(
            driver,
            runtime.clone(),
            clock::tokio_now(),
            Arc::clone(&work),
        );
        let mut active = Some(active);
        let (id, publisher) = shared
            .attachment
            .with(|attachment| attachment.begin(&mut active))?;
        let attached = Attached {
            shared: Arc::clone(shared),
            id,
        };
        let output = Output {
            interval,
            readings,
            publisher: publisher.clone(),
        };
        work.begin(Box::pin(take_samples(
            engine,
            shared.engine.clone(),
            output,
        )));
        Ok(Run {
            attached,
            publisher,
            work,
            over,
        })
    }

    /// To be held until it is certain that the run comes about.
    fn offer(&self) -> Offer {
        Offer {
            shared: Arc::clone(&self.attached.shared),
            id: self.attached.id,
            callbacks: None,
            open: true,
        }
    }

    /// Serves the callbacks, if there are any, until the samples of this run end.
    fn spawn_callbacks(&self, runtime: &Handle) -> Option<AbortHandle> {
        let shared = &self.attached.shared;
        let callbacks = shared.callbacks.as_ref()?.clone();
        let samples = Samples::new(self.publisher.subscribe());
        let tasks = shared.own_tasks(runtime);
        Some(calls::serve(callbacks, samples, runtime, tasks, ()))
    }

    /// Takes samples until the monitor is stopped, as a task of `runtime`.
    pub(super) fn spawn(
        self,
        runtime: &Handle,
        stall_callbacks: Option<Arc<OwnThread>>,
    ) -> Result<(), Error> {
        let mut offer = self.offer();
        offer.callbacks = self.spawn_callbacks(runtime);
        let own = self.attached.shared.own_tasks(runtime).token();
        runtime.spawn(own.keep(async move {
            self.attached.accept();
            self.work.drive().await;
        }));
        offer.take(stall_callbacks)
    }

    /// Takes samples until the monitor is stopped or `runtime` ends, as a part of the caller.
    pub(super) async fn drive(
        self,
        runtime: &Handle,
        stall_callbacks: Option<Arc<OwnThread>>,
    ) -> Result<(), Error> {
        let mut offer = self.offer();
        offer.callbacks = self.spawn_callbacks(runtime);
        let Run {
            attached,
            work,
            over,
            ..
        } = self;
        // The end of the runtime drops a task, but not the caller.
        let own = attached.shared.own_tasks(runtime).token();
        let ends_with_runtime = attached.clone();
        runtime.spawn(own.keep(async move {
            let _ends = ends_with_runtime;
            over.await.ok();
        }));
        offer.take(stall_callbacks)?;
        match Foreign::new(work.drive()).await {
            // Otherwise the runtime shuts down, on another thread, and Tokio's timers panic when
            // they are polled at that moment.
            Err(panic) if attached.is_on() => panic.resume(),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Takes samples until the output is closed.
async fn take_samples(engine: Option<Lent<Engine>>, lender: Lender<Engine>, output: Output) {
    let mut engine = match engine {
        Some(started) => started,
        // An earlier run had it still.
        None => {
            let mut engine = lender.take().await;
            if engine.start(output.interval).is_err() {
                return;
            }
            engine
        }
    };
    engine.drive(output).await;
}

/// A run that may still turn out not to come about. Dropping it then leaves all as it was.
struct Offer {
    shared: Arc<Shared>,
    id: RunId,
    callbacks: Option<AbortHandle>,
    open: bool,
}

impl Offer {
    /// The runtime has been given the run. Has all else begun that belongs to it, or fails.
    fn take(mut self, stall_callbacks: Option<Arc<OwnThread>>) -> Result<(), Error> {
        self.shared
            .attachment
            .with(|attachment| attachment.confirm(self.id))?;
        self.shared.begin_detection(self.id, stall_callbacks)?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let run = self
            .shared
            .attachment
            .with(|attachment| attachment.retract(self.id));
        if let Some(run) = run {
            run.end();
        }
        if let Some(callbacks) = &self.callbacks {
            callbacks.abort();
        }
    }
}

/// Ends its run when dropped: the runtime has shut down, the caller has let go, or the sampler has
/// panicked.
#[derive(Clone)]
struct Attached {
    shared: Arc<Shared>,
    id: RunId,
}

impl Attached {
    fn accept(&self) {
        self.shared
            .attachment
            .with(|attachment| attachment.accept(self.id));
    }

    fn is_on(&self) -> bool {
        self.shared
            .attachment
            .with(|attachment| attachment.is_on(self.id))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.end(self.id);
    }
}
