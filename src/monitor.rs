//! The handle on one runtime's monitoring: its life from `install` to `stop`.

mod attachment;
mod builder;
mod engine;
mod latest;
mod readings;
mod run;
mod samples;
mod stop_on_drop;
mod tasks;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

pub use builder::Builder;
pub use samples::Samples;
pub use stop_on_drop::StopOnDrop;

use crate::callback::Callbacks;
use crate::clock;
use crate::error::{Error, Kind};
use crate::sample::Sample;
use attachment::{Attachment, Driver};
use engine::Engine;
use run::Run;
use tasks::{OwnTask, RuntimeTasks};

/// The handle on one runtime's monitoring.
///
/// Build one with [`builder`](Self::builder) or [`create`](crate::create), and read it with
/// [`subscribe`](Self::subscribe). Clones are handles on the same monitor.
///
/// ```
/// use std::time::Duration;
/// use loopmon::Monitor;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let monitor = Monitor::builder()
///     .interval(Duration::from_millis(10))
///     .name("main")
///     .install()?;
///
/// let mut samples = monitor.subscribe();
/// let sample = samples.next().await.unwrap();
/// assert_eq!(sample.lag, Duration::ZERO);
/// assert_eq!(monitor.latest(), Some(sample));
///
/// monitor.stop();
/// assert_eq!(samples.next().await, None);
/// # Ok(())
/// # }
/// ```
///
/// # Life
///
/// A monitor watches one runtime at a time. [`install`](Self::install),
/// [`install_on`](Self::install_on) or [`run`](Self::run) attach it; [`stop`](Self::stop) detaches
/// it, and so do the end of its runtime and a panic of its sampler. Then it can be attached again, to
/// the same runtime or another.
///
/// # Dropping
///
/// Dropping the handle detaches it, as with Tokio's `JoinHandle`: an installed monitor goes on until
/// its runtime ends. [`stop_on_drop`](Self::stop_on_drop) gives a handle that stops it. A monitor
/// whose last handle is dropped while it is not attached is gone, and its streams end.
#[derive(Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

struct Shared {
    name: Option<Box<str>>,
    interval: Duration,
    needs_timers: bool,
    attachment: Mutex<Attachment>,
    latest: latest::Reader,
    engine: futures::lock::Mutex<Engine>,
    /// `None` if there are none to serve.
    callbacks: Option<futures::lock::Mutex<Callbacks>>,
    /// Each task of the monitor holds a receiver.
    tasks: watch::Sender<()>,
    /// What the times in `latest` count from.
    epoch: Instant,
}

impl Monitor {
    /// How long to wait between samples, unless told otherwise: 100 ms.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(100);

    /// How many samples each reader may lag behind, unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = 128;

    /// The most samples that readers may be allowed to lag behind. The buffer for them is allocated
    /// at once.
    pub const MAX_CAPACITY: usize = 1 << 20;

    /// Sets up a monitor.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn new(builder: Builder) -> Monitor {
        let (latest_writer, latest) = latest::latest();
        Monitor {
            shared: Arc::new(Shared {
                name: builder.name,
                interval: builder.interval,
                needs_timers: builder.needs_timers,
                attachment: Mutex::new(Attachment::new(builder.capacity)),
                latest,
                engine: Engine::new(builder.sampler, latest_writer).into(),
                callbacks: (!builder.callbacks.is_empty()).then(|| builder.callbacks.into()),
                tasks: watch::Sender::new(()),
                epoch: clock::tokio_now(),
            }),
        }
    }

    /// Starts monitoring the current runtime, in a task of its own. Returns at once.
    ///
    /// # Errors
    ///
    /// If no runtime is current, if the monitor is attached already, or if the runtime has no timers
    /// and the sampler is the [`SleepSampler`](crate::SleepSampler). Nothing has changed then.
    /// (Tokio panics when timers are missing; it is caught, but the process's panic hook reports it.)
    pub fn install(&self) -> Result<(), Error> {
        self.install_on(&current_runtime()?)
    }

    /// Starts monitoring the given runtime, from any thread. Returns at once.
    ///
    /// # Errors
    ///
    /// As [`install`](Self::install), and if the runtime has shut down.
    pub fn install_on(&self, runtime: &Handle) -> Result<(), Error> {
        let run = Run::begin(&self.shared, runtime, Driver::Task)?;
        let id = run.id();
        run.spawn_callbacks(runtime);
        let own = self.shared.own_task(RuntimeTasks::of(runtime));
        runtime.spawn(own.keep(run.drive()));
        self.shared.attachment().confirm(id)
    }

    /// Monitors the current runtime for as long as the returned future is polled, until the monitor
    /// is stopped.
    ///
    /// The samples show how late the caller's own future runs. Callbacks still run as tasks.
    ///
    /// # Errors
    ///
    /// As [`install`](Self::install).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the run, as [`stop`](Self::stop) does.
    pub async fn run(&self) -> Result<(), Error> {
        let runtime = current_runtime()?;
        let run = Run::begin(&self.shared, &runtime, Driver::Caller)?;
        self.shared.attachment().accept(run.id());
        let _running = self.shared.tasks.subscribe();
        run.spawn_callbacks(&runtime);
        run.drive().await;
        Ok(())
    }

    /// Stops monitoring, at once and from any thread.
    ///
    /// Every stream that was subscribed before gives what is buffered for it, then ends: also if the
    /// monitor was never installed. Stopping twice is as good as once. To wait until the monitor's
    /// tasks are gone, await [`stopped`](Self::stopped).
    pub fn stop(&self) {
        let (publisher, abort) = self.shared.attachment().stop();
        publisher.close();
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// Waits until the monitor has no tasks: it was never attached, or it has ended and calls of its
    /// callbacks are done.
    ///
    /// It does not stop the monitor. A runtime that is stuck lets go of the tasks when it goes on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it can be awaited by several callers, on any runtime or none.
    pub async fn stopped(&self) {
        self.shared.tasks.closed().await;
    }

    /// A handle that stops the monitor when it is dropped.
    pub fn stop_on_drop(self) -> StopOnDrop {
        StopOnDrop::new(self)
    }

    /// Whether the monitor is installed on a runtime, and that runtime is alive.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.shared.attachment().driver() == Some(Driver::Task)
    }

    /// Whether the monitor is attached to a runtime, by `install` or by `run`.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.attachment().driver().is_some()
    }

    /// About how long it waits between samples.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.shared.interval
    }

    /// What labels its exports.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// The newest sample, if there is one yet. It stays after the monitor has ended.
    ///
    /// It takes no lock and a few nanoseconds: made for hot paths.
    #[must_use]
    pub fn latest(&self) -> Option<Sample> {
        self.shared.latest.read().map(|(sample, _)| sample)
    }

    /// The lag as far as it is known now: that of the newest sample, or how overdue the next one is,
    /// whichever is more.
    ///
    /// While the runtime is stuck no sample can be taken, but this grows. So a health check on
    /// another thread sees a stuck runtime while it is stuck. Zero before the first sample is due.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let since = self.shared.attachment().since();
        let (lag, taken_at) = match self.shared.latest.read() {
            Some((sample, taken_at)) => (sample.lag, Some(self.shared.epoch + taken_at)),
            None => (Duration::ZERO, None),
        };
        // The newest sample may be of an earlier run.
        let overdue = since.map(|since| {
            let last = taken_at.map_or(since, |taken_at| since.max(taken_at));
            clock::tokio_now().saturating_duration_since(last + self.shared.interval)
        });
        lag.max(overdue.unwrap_or_default())
    }

    /// A stream of the samples from now on.
    ///
    /// Also before the monitor is installed: then it gets the first. When a monitor has been
    /// stopped, a new subscription is one to its next run.
    pub fn subscribe(&self) -> Samples {
        Samples::new(self.shared.attachment().publisher().subscribe())
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("name", &self.name())
            .field("interval", &self.interval())
            .field("is_running", &self.is_running())
            .field("latest", &self.latest())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn attachment(&self) -> MutexGuard<'_, Attachment> {
        self.attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held by a task of the monitor.
    fn own_task(&self, on: Arc<RuntimeTasks>) -> OwnTask {
        OwnTask::new(on, self.tasks.subscribe())
    }
}

fn current_runtime() -> Result<Handle, Error> {
    Handle::try_current().map_err(|_| Kind::NoRuntime.into())
}
