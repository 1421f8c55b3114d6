//! The handle on one runtime's monitoring: its life from `install` to `stop`. How stalls are found is in
//! `watchdog`.

mod attachment;
mod builder;
mod calls;
mod cell;
mod engine;
mod exclusive;
mod latest;
mod pulse;
mod readings;
mod run;
mod run_future;
mod samples;
mod shared;
#[cfg(any(feature = "tower", feature = "_feed"))]
mod shedding;
mod since;
mod stall_channel;
mod stalls;
mod stop_on_drop;
#[cfg(feature = "_feed")]
mod weak;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use builder::Builder;
#[cfg(feature = "tower")]
pub(crate) use pulse::{Beat, Pulse};
pub use samples::Samples;
pub use stalls::Stalls;
pub use stop_on_drop::StopOnDrop;
#[cfg(feature = "_feed")]
pub(crate) use weak::WeakMonitor;

use crate::clock;
use crate::culprits::Culprits;
use crate::error::{Error, Kind};
use crate::instrument::Instrumented;
use crate::sample::Sample;
use attachment::{Channels, Driver};
use run::Run;
use shared::Shared;

/// The handle on one runtime's monitoring.
///
/// Build one with [`builder`](Self::builder) or [`create`](crate::create), and read its samples with
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
/// A monitor is attached to one runtime at a time. [`install`](Self::install),
/// [`install_on`](Self::install_on) or [`run`](Self::run) attach it. [`stop`](Self::stop), the end of its
/// runtime, or a panic of its sampler detach it. Then it can be attached again, to the same runtime or
/// another.
///
/// # Dropping
///
/// Dropping the handle does not stop an installed monitor, as dropping Tokio's `JoinHandle` does not stop a
/// task: the monitor continues until its runtime ends. [`stop_on_drop`](Self::stop_on_drop) returns a handle
/// that stops it. If the last handle of a monitor that is not attached is dropped, its streams end.
#[derive(Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// The default time between samples: 100 ms.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(100);

    /// The default number of samples that each reader may lag behind: 128.
    pub const DEFAULT_CAPACITY: usize = 128;

    /// The largest capacity: 1,048,576 samples. The whole buffer is allocated when the monitor is built.
    pub const MAX_CAPACITY: usize = 1 << 20;

    /// The default time that a worker may stay away from its scheduler: 100 ms.
    pub const DEFAULT_STALL_THRESHOLD: Duration = Duration::from_millis(100);

    /// Starts monitoring the current runtime, in a task of its own. Returns at once.
    ///
    /// On a `multi_thread` runtime, no worker polls the future of `main`, or any other that `block_on` drives:
    /// [`instrument`](Self::instrument) it to have its stalls reported, or use the `stack` feature, which
    /// [detects them](crate::docs::stalls#the-future-of-block_on) on Linux.
    ///
    /// # Errors
    ///
    /// If no runtime is current, if the monitor is attached already, if its sampler cannot
    /// [start](crate::Sampler::start), or if there is a stall stream or callback and the operating system
    /// refuses a thread. The monitor is then as it was before: streams wait for the next run, though they
    /// may have received a sample.
    pub fn install(&self) -> Result<(), Error> {
        self.install_on(&current_runtime()?)
    }

    /// Starts monitoring the given runtime, from any thread. Returns at once.
    ///
    /// The thread that drives a `current_thread` runtime should call this, or [`install`](Self::install),
    /// inside its `block_on`. If it calls this outside, stalls are reported only when they are over;
    /// [`docs::stalls`](crate::docs::stalls) explains why.
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
    /// The samples show how late the caller's own future runs. Callbacks still run as tasks, and another
    /// task detects the end of the runtime.
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
    /// The run is dropped at once, even if its runtime is stuck or idle, so the monitor can be attached
    /// elsewhere. Its tasks end when their runtime polls them again.
    ///
    /// Every stream that was subscribed before returns what is buffered for it, then ends. So it does if the
    /// monitor was never installed. A second call does nothing. To wait until the monitor's tasks are gone,
    /// await [`stopped`](Self::stopped).
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

    /// Waits until the monitor has no tasks: it was never attached, or it has ended and the calls of its
    /// callbacks are done.
    ///
    /// This does not stop the monitor. If the monitor is attached again meanwhile, this also waits for the
    /// end of that run. A stuck runtime drops the tasks only when it runs again; a worker that gets stuck
    /// just after it has ended a task also delays this.
    ///
    /// # Deadlocks
    ///
    /// A callback that awaits this waits for itself for ever, and so does every other caller. A callback may
    /// [`stop`](Self::stop) its monitor.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Several callers can await it, on any runtime or none.
    pub async fn stopped(&self) {
        self.shared.tasks.gone().await;
    }

    /// Returns whether the monitor is installed on a runtime that is alive.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.shared.driver() == Some(Driver::Task)
    }

    /// Returns whether the monitor is attached to a runtime, by `install` or by `run`.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.driver().is_some()
    }

    /// The approximate time between samples.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.shared.interval
    }

    /// The name of the monitor, which labels its reports and exports.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// The newest sample, if there is one. It stays after the monitor has ended.
    ///
    /// This takes a few nanoseconds and no lock, and is made for hot paths.
    #[must_use]
    pub fn latest(&self) -> Option<Sample> {
        self.shared.latest.read()
    }

    /// The current lag: the newest sample's, or by how much the next sample is overdue, whichever is more.
    ///
    /// While the runtime is stuck there are no samples, but this value grows. So a health check on another
    /// thread detects a stuck runtime while it is stuck. It is zero before the first sample of a run is due.
    ///
    /// After the monitor has ended, this stays at the newest sample's lag. So a health check should also
    /// check [`is_running`](Self::is_running).
    ///
    /// If the clock of the runtime is paused, call this within the runtime: it uses that clock.
    #[must_use]
    pub fn lag(&self) -> Duration {
        match self.pulse(clock::tokio_now()) {
            Some(pulse) => pulse.lag().max(pulse.overdue),
            None => self.latest().map_or(Duration::ZERO, |sample| sample.lag),
        }
    }

    /// Returns a stream of all samples from now on.
    ///
    /// May be called before [`install`](Self::install); the stream then starts with the first sample. After a
    /// stop, a new stream belongs to the next run.
    pub fn subscribe(&self) -> Samples {
        let publisher = self
            .shared
            .attachment
            .with(|attachment| attachment.samples());
        Samples::new(publisher.subscribe())
    }

    /// Wraps a future, so that its polls are watched: on every executor and thread, and on every system that
    /// Rust's standard library has.
    ///
    /// A poll that lasts for the [threshold](Builder::stall_threshold) is a stall with
    /// [`Place::Future`](crate::Place::Future), on the monitor's streams, callbacks and exports. It is reported
    /// while it lasts, and its duration at the end is exact. No runtime is needed, and the monitor need not be
    /// attached: a stream of [`stalls`](Self::stalls) is enough. Callbacks and exports want it attached.
    ///
    /// Use it for futures that no worker of the monitored runtime polls: the future of `main` on a
    /// `multi_thread` runtime, a `LocalSet` beside one, another executor. The stall of a future on a worker is
    /// reported beside that of the worker, and so it is with a [root future](crate::Place::RootFuture).
    ///
    /// If one instrumented future polls another of the same monitor, a stall is the innermost one's. The outer
    /// one is stalled if it takes for the threshold apart from that. Eight futures within each other are told
    /// apart.
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use loopmon::{Monitor, Phase, Place};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let monitor = Monitor::builder()
    ///     .stall_threshold(Duration::from_millis(50))
    ///     .build()?;
    /// let mut stalls = monitor.stalls();
    /// // This thread is about to be stuck, so another one listens.
    /// let listener = thread::spawn(move || futures::executor::block_on(stalls.next()));
    ///
    /// futures::executor::block_on(monitor.instrument("import", async {
    ///     // Never do this in async code.
    ///     thread::sleep(Duration::from_millis(300));
    /// }));
    ///
    /// let stall = listener.join().unwrap().unwrap();
    /// assert_eq!((stall.phase, stall.place), (Phase::Started, Place::Future("import".into())));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Limits
    ///
    /// Of each monitor, 256 polls are reported while they last; further ones are reported when they end. With a
    /// threshold below 5 ms, a poll may be over before it could be seen: it is then reported when it ends,
    /// without a cause. A poll is also not seen if the watchdog itself gets no CPU time for as long as it
    /// lasts. The drop of the future is not watched.
    ///
    /// # Cost
    ///
    /// While nobody wants stalls, a poll costs a load. Otherwise it costs a clock read and a few stores to
    /// memory that no other thread writes; no lock and no allocation. The first poll on a thread allocates.
    pub fn instrument<F: Future>(&self, name: impl Into<Arc<str>>, future: F) -> Instrumented<F> {
        let future = Instrumented::new(name.into(), Arc::clone(&self.shared.demand), future);
        // If the system refuses the threads, the next call tries again.
        self.shared.ensure_future_detection().ok();
        future
    }

    /// As [`instrument`](Self::instrument), but fails if the operating system refuses a thread.
    #[cfg(feature = "testing")]
    pub(crate) fn try_instrument<F: Future>(
        &self,
        name: Arc<str>,
        future: F,
    ) -> Result<Instrumented<F>, Error> {
        let future = Instrumented::new(name, Arc::clone(&self.shared.demand), future);
        let watched = self.shared.ensure_future_detection();
        watched.map_err(|refused| Error::new(Kind::ThreadRefused, refused))?;
        Ok(future)
    }

    /// Returns a stream of all stalls from now on: which worker does not return to its scheduler, since when
    /// and why. They are reported while they last.
    ///
    /// Detection starts with the first stream or stall callback and stops when the last of them is gone. It
    /// runs on loopmon's own threads, while the monitor is attached. This may be called before
    /// [`install`](Self::install). After a stop, a new stream belongs to the next run.
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
    /// [`docs::stalls`](crate::docs::stalls) lists what is detected and what is not. On targets without 64-bit
    /// atomics, Tokio does not publish the counters of workers, and only instrumented futures are watched. The
    /// stream ends at once if the operating system refuses a thread.
    ///
    /// # Cost
    ///
    /// Three threads for the whole process (four with the `stack` feature) and one task on the runtime. One
    /// thread wakes up every fifth of a monitor's threshold, 1 to 20 ms, and [less often](Builder::stall_threshold) while
    /// the runtime is idle. The others wake up once a second at most while nothing is stuck. An idle runtime is not woken.
    pub fn stalls(&self) -> Stalls {
        let (post, _) = self.shared.post();
        let stalls = post.subscribe();
        if self.shared.ensure_detection().is_err() {
            post.end();
        }
        stalls
    }

    /// Returns who cost how much: the stalls so far, those that go on included, by their [`Blame`](crate::Blame).
    ///
    /// Detection starts with the first call, and goes on in each run of the monitor: call this once before
    /// [`install`](Self::install) to miss nothing. Stalls that are detected for a stream, a callback or an
    /// exporter are counted as well. No reader is needed, and no stall is lost that a slow reader misses.
    ///
    /// The account goes on when the monitor is stopped and installed again. A stall that goes on when the
    /// monitor stops counts as long as it was reported last.
    ///
    /// Each time is counted once. If a worker or a root future is stuck in the poll of an
    /// [instrumented](Self::instrument) future, the time is that of the future's stall. What is left of the
    /// other counts only if it is as long as the threshold. This needs proof that both share a thread; without it,
    /// as on systems other than Linux, both count.
    ///
    /// With a low threshold, this is a profile of what hogs the event loop: see the
    /// [guide](crate::docs::operating#who-costs-most).
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::Monitor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let monitor = Monitor::builder()
    ///     .stall_threshold(Duration::from_millis(50))
    ///     .build()?;
    /// assert!(monitor.culprits().is_empty()); // and starts the detection
    /// monitor.install()?;
    /// # tokio::time::sleep(Duration::from_millis(50)).await;
    ///
    /// // Never do this in async code.
    /// std::thread::sleep(Duration::from_millis(300));
    ///
    /// # tokio::time::sleep(Duration::from_millis(50)).await;
    /// # let began = std::time::Instant::now();
    /// # while monitor.culprits().is_empty() && began.elapsed() < Duration::from_secs(20) {
    /// #     tokio::time::sleep(Duration::from_millis(10)).await;
    /// # }
    /// let culprits = monitor.culprits();
    /// println!("{culprits}");
    /// let worst = culprits.iter().next().unwrap();
    /// assert_eq!((worst.stalls, worst.total), (1, worst.longest));
    /// # Ok::<(), loopmon::Error>(())
    /// # })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// A report costs about a microsecond, on loopmon's own thread, and a snapshot some 10 µs, on the caller's.
    /// Memory is bounded: 256 culprits and the last stalls, each with one stack of typically 10 kB.
    #[must_use]
    pub fn culprits(&self) -> Culprits {
        self.shared.culprits()
    }

    /// Empties the account of [`culprits`](Self::culprits), and returns what was in it.
    ///
    /// A stall that goes on is counted here, and with its further time, but not once more, in what follows.
    pub fn reset_culprits(&self) -> Culprits {
        self.shared.account.reset()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("name", &self.name())
            .field("interval", &self.interval())
            .field("is_running", &self.is_running())
            .field("latest", &self.latest())
            .field("open_stalls", &self.shared.open_stalls)
            .finish_non_exhaustive()
    }
}

fn current_runtime() -> Result<Handle, Error> {
    Handle::try_current().map_err(|_| Kind::NoRuntime.into())
}
