//! One run of a monitor, from `install` or `run` to its end.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{AbortRegistration, Abortable};
use tokio::runtime::Handle;

use super::Shared;
use super::attachment::{Driver, RunId};
use super::engine::Output;
use super::readings::Readings;
use super::samples::Samples;
use super::tasks::RuntimeTasks;
use crate::clock;
use crate::error::{Error, Kind};

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
        let begun = shared.attachment().begin(driver, clock::tokio_now())?;
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
        let shared = Arc::clone(&self.attached.shared);
        if shared.callbacks.is_none() {
            return;
        }
        let mut samples = Samples::new(self.output.publisher.subscribe());
        let tasks = RuntimeTasks::of(runtime);
        let own = shared.own_task(Arc::clone(&tasks));
        runtime.spawn(own.keep(async move {
            let Some(callbacks) = &shared.callbacks else {
                return;
            };
            let mut callbacks = callbacks.lock().await;
            while let Some(sample) = samples.next().await {
                for call in callbacks.offer(sample) {
                    let own = shared.own_task(Arc::clone(&tasks));
                    tokio::spawn(own.keep(call));
                }
            }
        }));
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
        if let Some(publisher) = ended {
            publisher.close();
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
