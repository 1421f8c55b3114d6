//! One run of a monitor, from `install` or `run` to its end.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::AbortRegistration;
use tokio::runtime::Handle;

use super::Shared;
use super::attachment::{Driver, RunId};
use super::calls;
use super::engine::Output;
use super::readings::Readings;
use super::samples::Samples;
use super::work::Work;
use crate::broadcast::Publisher;
use crate::clock;
use crate::error::{Error, Kind};
use crate::sample::Sample;
use crate::tasks::RuntimeTasks;

/// A run that has begun. Dropping it, polled or not, ends it.
pub(super) struct Run {
    attached: Attached,
    publisher: Publisher<Sample>,
    work: Arc<Work>,
    abort: AbortRegistration,
    over: oneshot::Receiver<Infallible>,
}

impl Run {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        runtime: &Handle,
        driver: Driver,
    ) -> Result<Run, Error> {
        if shared.needs_timers && !has_timers(runtime) {
            return Err(Kind::TimersDisabled.into());
        }
        let readings = Readings::new(runtime, RuntimeTasks::of(runtime));
        let mut attachment = shared.attachment();
        let publisher = attachment.publisher().clone();
        let output = Output {
            interval: shared.interval,
            readings,
            publisher: publisher.clone(),
        };
        let engine = Arc::clone(shared);
        let (work, abort) = Work::new(Box::pin(async move {
            // An earlier run lets go of it in the moment in which it is stopped.
            engine.engine.lock().await.drive(output).await;
        }));
        let work = Arc::new(work);
        let now = clock::tokio_now();
        let begun = attachment.begin(driver, runtime.clone(), now, Arc::clone(&work))?;
        Ok(Run {
            attached: Attached {
                shared: Arc::clone(shared),
                id: begun.id,
            },
            publisher,
            work,
            abort,
            over: begun.over,
        })
    }

    pub(super) fn id(&self) -> RunId {
        self.attached.id
    }

    /// Serves the callbacks, if there are any, until the samples of this run end.
    pub(super) fn spawn_callbacks(&self, runtime: &Handle) {
        let shared = &self.attached.shared;
        if let Some(callbacks) = &shared.callbacks {
            let samples = Samples::new(self.publisher.subscribe());
            let tasks = shared.own_tasks(runtime);
            calls::serve(Arc::clone(callbacks), samples, runtime, tasks, ());
        }
    }

    /// Takes samples until the monitor is stopped, as a task of `runtime`.
    pub(super) fn spawn(self, runtime: &Handle) {
        let own = self.attached.shared.own_tasks(runtime).task();
        runtime.spawn(own.keep(async move {
            self.attached.accept();
            self.work.drive(self.abort).await;
        }));
    }

    /// Takes samples until the monitor is stopped or `runtime` ends, as a part of the caller.
    pub(super) async fn drive(self, runtime: &Handle) -> Result<(), Error> {
        let Run {
            attached,
            work,
            abort,
            over,
            ..
        } = self;
        // The end of the runtime drops a task, but not the caller.
        let own = attached.shared.own_tasks(runtime).task();
        let ends_with_runtime = attached.clone();
        runtime.spawn(own.keep(async move {
            let _ends = ends_with_runtime;
            over.await.ok();
        }));
        attached.shared.attachment().confirm(attached.id)?;
        attached.shared.keep_watch(attached.id)?;
        let driven = AssertUnwindSafe(work.drive(abort)).catch_unwind().await;
        match driven {
            // The runtime shuts down, on another thread, and Tokio's timers panic when they are
            // polled at that moment.
            Err(_) if !attached.shared.attachment().is_on(attached.id) => Ok(()),
            Err(panic) => resume_unwind(panic),
            Ok(()) => Ok(()),
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
        self.shared.attachment().accept(self.id);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let ended = self.shared.attachment().end(self.id);
        if let Some(ended) = ended {
            ended.end();
        }
    }
}

/// Tokio tells by a panic alone.
fn has_timers(runtime: &Handle) -> bool {
    catch_unwind(|| {
        let _entered = runtime.enter();
        drop(tokio::time::sleep(Duration::ZERO));
    })
    .is_ok()
}
