//! The handle on one runtime's monitoring: its life from `install` to `stop`.

mod attachment;
mod builder;
mod calls;
mod engine;
mod latest;
mod lent;
mod readings;
mod run;
mod samples;
mod shared;
mod stall_channel;
mod stalls;
mod stop_on_drop;
#[cfg(feature = "_export")]
mod weak;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use builder::Builder;
pub use samples::Samples;
pub use stalls::Stalls;
pub use stop_on_drop::StopOnDrop;
#[cfg(feature = "_export")]
pub(crate) use weak::WeakMonitor;

use crate::clock;
use crate::error::{Error, Kind};
use crate::sample::Sample;
use attachment::{Channels, Driver};
use run::Run;
use shared::Shared;

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

impl Monitor {
    /// How long to wait between samples, unless told otherwise: 100 ms.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(100);

    /// How many samples each reader may lag behind, unless told otherwise.
    pub const DEFAULT_CAPACITY: usize = 128;

    /// The most samples that readers may be allowed to lag behind. The buffer for them is allocated
    /// at once.
    pub const MAX_CAPACITY: usize = 1 << 20;

    /// How long a worker may stay away from its scheduler, unless told otherwise: 100 ms.
    pub const DEFAULT_STALL_THRESHOLD: Duration = Duration::from_millis(100);

    /// Starts monitoring the current runtime, in a task of its own. Returns at once.
    ///
    /// # Errors
    ///
    /// If no runtime is current, if the monitor is attached already, if its sampler cannot
    /// [start](crate::Sampler::start), or if somebody wants to know of stalls and the operating system
    /// refuses what that takes. Nothing has changed then: streams go on to wait for the next run, and
    /// may have been given a sample.
    pub fn install(&self) -> Result<(), Error> {
        self.install_on(&current_runtime()?)
    }

    /// Starts monitoring the given runtime, from any thread. Returns at once.
    ///
    /// The thread that drives a `current_thread` runtime should call this, or [`install`](Self::install),
    /// inside its `block_on`: from outside, stalls of the runtime are told only when they are over.
    /// [`docs::stalls`](crate::docs::stalls) says why.
    ///
    /// # Errors
    ///
    /// As [`install`](Self::install), and if the runtime has shut down.
    pub fn install_on(&self, runtime: &Handle) -> Result<(), Error> {
        let thread = self.shared.stall_callbacks_thread()?;
        Run::begin(&self.shared, runtime, Driver::Task)?.spawn(runtime, thread)
    }

    /// Monitors the current runtime for as long as the returned future is polled, until the monitor
    /// is stopped or the runtime shuts down.
    ///
    /// The samples show how late the caller's own future runs. Callbacks still run as tasks, and one
    /// task notices the end of the runtime.
    ///
    /// # Errors
    ///
    /// As [`install_on`](Self::install_on).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the run, as [`stop`](Self::stop) does.
    pub async fn run(&self) -> Result<(), Error> {
        let runtime = current_runtime()?;
        let thread = self.shared.stall_callbacks_thread()?;
        let run = Run::begin(&self.shared, &runtime, Driver::Caller)?;
        run.drive(&runtime, thread).await
    }

    /// Stops monitoring, at once and from any thread.
    ///
    /// What the run was doing is dropped here and now, also if its runtime is stuck or idle, so the
    /// monitor can be attached elsewhere. Its tasks end when their runtime goes on.
    ///
    /// Every stream that was subscribed before gives what is buffered for it, then ends: also if the
    /// monitor was never installed. Stopping twice is as good as once. To wait until the monitor's
    /// tasks are gone, await [`stopped`](Self::stopped).
    pub fn stop(&self) {
        let mut channels = Channels::new(self.shared.capacity);
        let run = self
            .shared
            .attachment
            .with(|attachment| attachment.stop(&mut channels));
        channels.end();
        if let Some(run) = run {
            run.end();
        }
    }

    /// Waits until the monitor has no tasks: it was never attached, or it has ended and calls of its
    /// callbacks are done.
    ///
    /// It does not stop the monitor; if it is attached again meanwhile, it waits for the end of that
    /// run, too. A runtime that is stuck lets go of the tasks when it goes on, and so does a worker
    /// that becomes stuck just after it has ended one.
    ///
    /// # Deadlocks
    ///
    /// A callback that awaits this waits for itself, for ever, and so does everybody else who awaits
    /// it. A callback may [`stop`](Self::stop) its monitor.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it can be awaited by several callers, on any runtime or none.
    pub async fn stopped(&self) {
        self.shared.tasks.gone().await;
    }

    /// Whether the monitor is installed on a runtime, and that runtime is alive.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.shared.driver() == Some(Driver::Task)
    }

    /// Whether the monitor is attached to a runtime, by `install` or by `run`.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.driver().is_some()
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
        self.shared.latest.read()
    }

    /// The lag as far as it is known now: that of the newest sample, or how overdue the next one is,
    /// whichever is more.
    ///
    /// While the runtime is stuck no sample can be taken, but this grows. So a health check on
    /// another thread sees a stuck runtime while it is stuck. Zero before the first sample of a run
    /// is due.
    ///
    /// When the monitor has ended it stays as it was: a health check asks
    /// [`is_running`](Self::is_running), too.
    ///
    /// On a runtime whose clock is paused it goes by that clock, so ask from within.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let since = self.shared.attachment.with(|attachment| attachment.since());
        let latest = self.latest();
        let Some(since) = since else {
            return latest.map_or(Duration::ZERO, |sample| sample.lag);
        };
        // The newest sample may be of an earlier run.
        let (lag, last) = latest
            .and_then(|sample| Some((sample.lag, sample.taken.0?)))
            .filter(|(_, taken)| *taken >= since)
            .unwrap_or((Duration::ZERO, since));
        lag.max(clock::tokio_now().saturating_duration_since(last + self.shared.interval))
    }

    /// A stream of the samples from now on.
    ///
    /// Also before the monitor is installed: then it gets the first. When a monitor has been
    /// stopped, a new subscription is one to its next run.
    pub fn subscribe(&self) -> Samples {
        let publisher = self
            .shared
            .attachment
            .with(|attachment| attachment.samples());
        Samples::new(publisher.subscribe())
    }

    /// A stream of the stalls from now on: which worker does not return to its scheduler, since when
    /// and why, told while it lasts.
    ///
    /// Asking for them is what has them looked for: by a thread of loopmon's own, one for all
    /// runtimes of the process, as long as the monitor is attached and the stream is kept. Also
    /// before the monitor is installed; and after it has been stopped, a new stream is one to its
    /// next run.
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::{Cause, Monitor, Phase};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let monitor = Monitor::builder()
    ///     .stall_threshold(Duration::from_millis(50))
    ///     .install()?;
    /// let mut stalls = monitor.stalls();
    /// // This thread is about to be stuck, so another one listens.
    /// let listener = std::thread::spawn(move || futures::executor::block_on(stalls.next()));
    ///
    /// // Never do this in async code.
    /// std::thread::sleep(Duration::from_millis(300));
    ///
    /// let stall = listener.join().unwrap().unwrap();
    /// assert_eq!((stall.phase, stall.worker()), (Phase::Started, Some(0)));
    /// assert!(stall.duration < Duration::from_millis(300));
    /// # if cfg!(target_os = "linux") {
    /// assert!(matches!(stall.cause, Cause::Blocked { .. }));
    /// # }
    /// # Ok::<(), loopmon::Error>(())
    /// # })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What is seen and what is not is told in [`docs::stalls`](crate::docs::stalls). On targets
    /// without 64-bit atomics Tokio does not publish what it takes: there the stream ends at once. It
    /// also does if the monitor is attached and the operating system refuses the thread.
    ///
    /// # Cost
    ///
    /// Three threads for the whole process (four with the `stack` feature) and one task on the runtime. One
    /// of the threads wakes up every fifth of a monitor's threshold, 1 to 20 ms, the others once a second
    /// at most while nothing is stuck. An idle runtime is not woken.
    pub fn stalls(&self) -> Stalls {
        let (post, _) = self.shared.post();
        let stalls = post.subscribe();
        if self.shared.ensure_detection().is_err() {
            post.end();
        }
        stalls
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

fn current_runtime() -> Result<Handle, Error> {
    Handle::try_current().map_err(|_| Kind::NoRuntime.into())
}
