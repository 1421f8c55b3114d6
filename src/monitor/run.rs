//! One run of a monitor, from `install` or `run` to its end. What users call is in `monitor.rs`.

use std::convert::Infallible;
use std::sync::Arc;

use futures::channel::oneshot;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::attachment::{Driver, RunId, RunRecord};
use super::calls;
use super::engine::{Engine, Output};
use super::exclusive::{Exclusive, Lease};
use super::readings::Readings;
use super::run_future::RunFuture;
use super::samples::Samples;
use super::shared::Shared;
use super::since::Since;
use crate::broadcast::Publisher;
use crate::clock;
use crate::error::Error;
use crate::foreign::Foreign;
use crate::own_thread::OwnThread;
use crate::runtime::RuntimeTasks;
use crate::sample::Sample;
use crate::watchdog::Installer;

/// A run that has begun. Dropping it ends the run.
pub(super) struct Run {
    end_on_drop: EndOnDrop,
    publisher: Publisher<Sample>,
    future: Arc<RunFuture>,
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
        // `None` if an earlier run has not quite ended. It returns the engine when it is stopped.
        let mut engine = shared.engine.try_take();
        if let Some(engine) = &mut engine {
            let _entered = runtime.enter();
            engine.start(interval)?;
        }
        let readings = Readings::new(runtime, RuntimeTasks::of(runtime));
        let future = Arc::new(RunFuture::default());
        let (record, over) = RunRecord::new(
            driver,
            runtime.clone(),
            Installer::here(runtime, &shared.stack_capture),
            Since {
                at: clock::tokio_now(),
                sample: shared.latest.version(),
            },
            Arc::clone(&future),
        );
        let mut record = Some(record);
        let (id, publisher) = shared
            .attachment
            .with(|attachment| attachment.begin(&mut record))?;
        let end_on_drop = EndOnDrop {
            shared: Arc::clone(shared),
            id,
        };
        let output = Output {
            interval,
            readings,
            publisher: publisher.clone(),
        };
        future.set(Box::pin(take_samples(
            engine,
            shared.engine.clone(),
            output,
        )));
        Ok(Run {
            end_on_drop,
            publisher,
            future,
            over,
        })
    }

    /// Returns the guard to hold until it is certain that the run has started.
    fn start_guard(&self) -> StartGuard {
        StartGuard {
            shared: Arc::clone(&self.end_on_drop.shared),
            id: self.end_on_drop.id,
            callbacks: None,
            started: false,
        }
    }

    /// Runs the callbacks, if there are any, until the samples of this run end.
    fn spawn_callbacks(&self, runtime: &Handle) -> Option<AbortHandle> {
        let shared = &self.end_on_drop.shared;
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
        let mut guard = self.start_guard();
        guard.callbacks = self.spawn_callbacks(runtime);
        let own = self.end_on_drop.shared.own_tasks(runtime).token();
        runtime.spawn(own.keep(async move {
            self.end_on_drop.accept();
            self.future.drive().await;
        }));
        guard.finish(stall_callbacks)
    }

    /// Takes samples until the monitor is stopped or `runtime` ends, as part of the caller's future.
    pub(super) async fn drive(
        self,
        runtime: &Handle,
        stall_callbacks: Option<Arc<OwnThread>>,
    ) -> Result<(), Error> {
        let mut guard = self.start_guard();
        guard.callbacks = self.spawn_callbacks(runtime);
        let Run {
            end_on_drop,
            future,
            over,
            ..
        } = self;
        // A runtime that ends drops its tasks, but not the caller's future, so a task has to detect the end.
        let own = end_on_drop.shared.own_tasks(runtime).token();
        let ends_with_runtime = end_on_drop.clone();
        runtime.spawn(own.keep(async move {
            let _ends = ends_with_runtime;
            over.await.ok();
        }));
        guard.finish(stall_callbacks)?;
        match Foreign::new(future.drive()).await {
            // Otherwise the runtime shuts down on another thread. Tokio's timers panic when they are polled
            // at that moment.
            Err(panic) if end_on_drop.is_current() => panic.resume(),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Takes samples until the output is closed.
async fn take_samples(
    engine: Option<Lease<Engine>>,
    shared_engine: Exclusive<Engine>,
    output: Output,
) {
    let mut engine = match engine {
        Some(started) => started,
        // An earlier run still had the engine.
        None => {
            let mut engine = shared_engine.take().await;
            if engine.start(output.interval).is_err() {
                return;
            }
            engine
        }
    };
    engine.drive(output).await;
}

/// A run that has not started yet. Dropping this before it has leaves the monitor as it was.
struct StartGuard {
    shared: Arc<Shared>,
    id: RunId,
    callbacks: Option<AbortHandle>,
    started: bool,
}

impl StartGuard {
    /// Starts what else belongs to the run, after the runtime was given it.
    fn finish(mut self, stall_callbacks: Option<Arc<OwnThread>>) -> Result<(), Error> {
        self.shared
            .attachment
            .with(|attachment| attachment.confirm(self.id))?;
        self.shared.begin_detection(self.id, stall_callbacks)?;
        self.started = true;
        Ok(())
    }
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        if self.started {
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

/// Ends its run when it is dropped: the runtime has shut down, the caller has dropped the future, or the
/// sampler has panicked.
#[derive(Clone)]
struct EndOnDrop {
    shared: Arc<Shared>,
    id: RunId,
}

impl EndOnDrop {
    fn accept(&self) {
        self.shared
            .attachment
            .with(|attachment| attachment.accept(self.id));
    }

    fn is_current(&self) -> bool {
        self.shared
            .attachment
            .with(|attachment| attachment.is_current(self.id))
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.shared.end(self.id);
    }
}
