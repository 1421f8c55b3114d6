//! One run of a monitor, from `install` or `run` to its end.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{AbortRegistration, Abortable};
use tokio::runtime::Handle;

use super::Shared;
use super::attachment::{Driver, RunId};
use super::calls;
use super::engine::Output;
use super::readings::Readings;
use super::samples::Samples;
use crate::clock;
use crate::error::{Error, Kind};
use crate::tasks::RuntimeTasks;

/// A run that has begun. Dropping it, polled or not, ends it.
pub(super) struct Run {
    attached: Attached,
    output: Output,
    abort: AbortRegistration,
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
        let begun = shared
            .attachment()
            .begin(driver, runtime.clone(), clock::tokio_now())?;
        Ok(Run {
            attached: Attached {
                shared: Arc::clone(shared),
                id: begun.id,
            },
            output: Output {
                interval: shared.interval,
                epoch: shared.epoch,
                readings: Readings::new(runtime, RuntimeTasks::of(runtime)),
                publisher: begun.publisher,
            },
            abort: begun.abort,
        })
    }

    pub(super) fn id(&self) -> RunId {
        self.attached.id
    }

    /// Serves the callbacks, if there are any, until the samples of this run end.
    pub(super) fn spawn_callbacks(&self, runtime: &Handle) {
        let shared = &self.attached.shared;
        if let Some(callbacks) = &shared.callbacks {
            let samples = Samples::new(self.output.publisher.subscribe());
            let tasks = shared.own_tasks(runtime);
            calls::serve(Arc::clone(callbacks), samples, runtime, tasks, ());
        }
    }

    /// Takes samples until the monitor is stopped.
    pub(super) async fn drive(self) {
        let Run {
            attached,
            output,
            abort,
        } = self;
        let driving = async {
            attached.shared.attachment().accept(attached.id);
            // An earlier run may be about to let go of it.
            let mut engine = attached.shared.engine.lock().await;
            engine.drive(output).await;
        };
        // Aborted or closed, it has been stopped.
        Abortable::new(driving, abort).await.ok();
    }
}

/// Ends its run when dropped: the runtime has shut down, the caller has let go, or the sampler has
/// panicked.
struct Attached {
    shared: Arc<Shared>,
    id: RunId,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let ended = self.shared.attachment().end(self.id);
        if let Some(channels) = ended {
            channels.end();
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
