//! How a monitor is set up: its settings, and the checks on them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Monitor;
use super::attachment::{Attachment, Channels};
use super::calls;
use super::engine::{Drive, Engine};
use super::exclusive::Exclusive;
use super::latest;
use super::shared::Shared;
use super::since;
use crate::callback::{Callback, Callbacks, IntoCallbacks};
use crate::clock;
use crate::culprits::Account;
use crate::error::{Error, Kind};
use crate::polls::Demand;
use crate::runtime::Tasks;
use crate::sampler::{LONGEST_INTERVAL, Sampler, SleepSampler};
use crate::stack::StackCapture;
use crate::stall::Stall;
use crate::sync::Lock;

/// Sets up a [`Monitor`].
///
/// ```
/// use std::time::Duration;
/// use loopmon::{Monitor, WakeSampler};
///
/// let monitor = Monitor::builder()
///     .name("ingest")
///     .interval(Duration::from_millis(250))
///     .sampler(WakeSampler::new())
///     .callback(async |sample| println!("{sample}"))
///     .build()?;
/// assert_eq!(monitor.name(), Some("ingest"));
/// # Ok::<(), loopmon::Error>(())
/// ```
#[must_use = "a builder does nothing until `build`, `install` or `install_on`"]
pub struct Builder {
    name: Option<Arc<str>>,
    interval: Duration,
    capacity: usize,
    stall_capacity: Option<usize>,
    callbacks: Callbacks,
    sampler: Box<dyn Drive>,
    stall_threshold: Duration,
    stall_callbacks: Callbacks<Stall>,
    rescue_timers: bool,
    stack_capture: StackCapture,
    is_for_test: bool,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            name: None,
            interval: Monitor::DEFAULT_INTERVAL,
            capacity: Monitor::DEFAULT_CAPACITY,
            stall_capacity: None,
            callbacks: Callbacks::default(),
            sampler: Box::new(SleepSampler),
            stall_threshold: Monitor::DEFAULT_STALL_THRESHOLD,
            stall_callbacks: Callbacks::default(),
            rescue_timers: false,
            stack_capture: StackCapture::new(),
            is_for_test: false,
        }
    }

    /// Sets the approximate time between samples. The default is [`Monitor::DEFAULT_INTERVAL`].
    ///
    /// A shorter interval costs more and misses less: each sample is a wake-up of the runtime. The
    /// [`SleepSampler`] rounds the interval up to whole milliseconds.
    pub fn interval(mut self, interval: Duration) -> Builder {
        self.interval = interval;
        self
    }

    /// Sets the name that labels the monitor's reports and exports. There is none by default.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into().into());
        self
    }

    /// Sets how many samples each reader may lag behind before it loses its oldest. The default is
    /// [`Monitor::DEFAULT_CAPACITY`], the maximum [`Monitor::MAX_CAPACITY`].
    ///
    /// All readers share one buffer of this many samples, of less than 100 bytes each.
    pub fn capacity(mut self, capacity: usize) -> Builder {
        self.capacity = capacity;
        self
    }

    /// Sets how many reports of stalls each reader may lag behind before it loses its oldest. The default is
    /// that of [samples](Self::capacity), the maximum [`Monitor::MAX_CAPACITY`].
    ///
    /// All readers share one buffer of this many reports, of less than 200 bytes each.
    pub fn stall_capacity(mut self, capacity: usize) -> Builder {
        self.stall_capacity = Some(capacity);
        self
    }

    /// Adds a function that is called with each sample. See [`Callback`].
    pub fn callback(self, callback: impl Callback) -> Builder {
        self.callbacks([callback])
    }

    /// Adds several callbacks: an array, a `Vec`, or a tuple of different ones.
    pub fn callbacks(mut self, callbacks: impl IntoCallbacks) -> Builder {
        self.callbacks.append(callbacks.into_callbacks());
        self
    }

    /// Sets how lag is measured. The default is a [`SleepSampler`].
    pub fn sampler(mut self, sampler: impl Sampler) -> Builder {
        self.sampler = Box::new(sampler);
        self
    }

    /// Sets how long a worker may stay away from its scheduler before that counts as a stall. The default is
    /// [`Monitor::DEFAULT_STALL_THRESHOLD`].
    ///
    /// It has an effect once there is a stream from [`Monitor::stalls`] or a
    /// [`stall_callback`](Self::stall_callback). The watchdog looks at the runtime every fifth of the
    /// threshold, 1 to 20 ms. If the threshold is below 5 ms, a report may be up to two milliseconds late.
    ///
    /// With a threshold of 100 ms or more, the watchdog lets an idle runtime alone for longer: once all its workers have
    /// been parked at each look for a second, it looks every half of the threshold, 100 ms at the most, until a worker
    /// is not. That wakes up the CPU 20 times a second at the default threshold instead of 50, and 10 times from 200 ms
    /// on. The price: the first stall after a quiet time is reported up to that much later. One that lasts for one and a
    /// half thresholds is still reported while it lasts.
    pub fn stall_threshold(mut self, threshold: Duration) -> Builder {
        self.stall_threshold = threshold;
        self
    }

    /// Adds a function that is called with each report of a stall. Stalls are detected while the monitor is
    /// attached.
    ///
    /// It differs from a [`Callback`] of samples in where it runs: on a thread named `loopmon-callbacks`, never
    /// on the stuck runtime. The process has one such thread while a monitor with stall callbacks is attached
    /// or a call is not done. The thread is a Tokio runtime with all drivers that your build of Tokio has, so a
    /// callback may sleep, send a request or spawn. A callback that blocks delays other callbacks, of any
    /// monitor. It delays neither the detection nor a [`Stalls`](crate::Stalls) stream.
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopmon::{Monitor, Phase, Stall};
    ///
    /// async fn page_somebody(stall: Stall) {
    ///     if stall.phase == Phase::Started {
    ///         eprintln!("{stall}");
    ///     }
    /// }
    ///
    /// let monitor = Monitor::builder()
    ///     .stall_threshold(Duration::from_millis(250))
    ///     .stall_callback(page_somebody)
    ///     .build()?;
    /// # Ok::<(), loopmon::Error>(())
    /// ```
    pub fn stall_callback(self, callback: impl Callback<Stall>) -> Builder {
        self.stall_callbacks([callback])
    }

    /// Adds several stall callbacks: an array, a `Vec`, or a tuple of different ones. See
    /// [`stall_callback`](Self::stall_callback).
    pub fn stall_callbacks(mut self, callbacks: impl IntoCallbacks<Stall>) -> Builder {
        self.stall_callbacks.append(callbacks.into_callbacks());
        self
    }

    /// Sets whether to wake a parked worker when another is stuck, so that it takes over timers and I/O. Off
    /// by default.
    ///
    /// One worker at a time polls a runtime's timers and I/O. If that worker gets stuck in a task while the
    /// others are parked, none of them takes over, and every timer and socket waits. With this setting, the
    /// watchdog wakes a parked worker once each time a worker does not move for two looks, even if that does
    /// not become a stall. The woken worker has no task to run, so it polls timers and I/O.
    ///
    /// It works while stalls are detected. It helps timers and I/O, but not the tasks in the stuck worker's
    /// own queue, and not a `current_thread` runtime, which has no other worker. The help comes after up to
    /// two looks; a lower [`stall_threshold`](Self::stall_threshold) brings it sooner. It also reduces the
    /// lag that sampling measures, because tasks wait less.
    pub fn rescue_timers(mut self, rescue: bool) -> Builder {
        self.rescue_timers = rescue;
        self
    }

    /// Sets how the stack of a stalled worker is taken, for [`Stall::trace`], and which code on it is
    /// [your own](StackCapture::own). By default, a blocked thread is inspected through `/proc` and a running
    /// thread gets a signal. Without the `stack` feature, and on systems other than Linux, no stack is taken.
    pub fn stack_capture(mut self, stack_capture: StackCapture) -> Builder {
        self.stack_capture = stack_capture;
        self
    }

    /// For a test: each report of a stall waits for its stack, though others may overtake it, and the streams end
    /// only after the last. That takes seconds at the most.
    #[cfg(feature = "testing")]
    pub(crate) fn for_test(mut self) -> Builder {
        self.is_for_test = true;
        self
    }

    /// Builds a monitor that is not attached to a runtime yet.
    ///
    /// # Errors
    ///
    /// If the interval is zero or longer than Tokio's timers hold, a capacity is zero or more than
    /// [`Monitor::MAX_CAPACITY`], the stall threshold is zero, or the signal for stacks is not one that
    /// loopmon may use.
    pub fn build(self) -> Result<Monitor, Error> {
        if self.interval.is_zero() {
            return Err(Kind::ZeroInterval.into());
        }
        if self.interval > LONGEST_INTERVAL {
            return Err(Kind::IntervalTooLong.into());
        }
        for capacity in [self.capacity, self.stall_capacity.unwrap_or(self.capacity)] {
            if capacity == 0 {
                return Err(Kind::ZeroCapacity.into());
            }
            if capacity > Monitor::MAX_CAPACITY {
                return Err(Kind::CapacityTooLarge.into());
            }
        }
        if self.stall_threshold.is_zero() {
            return Err(Kind::ZeroStallThreshold.into());
        }
        self.stack_capture.check()?;
        Ok(self.monitor())
    }

    fn monitor(self) -> Monitor {
        let epoch = clock::tokio_now();
        let (latest_writer, latest) = latest::latest(epoch);
        let (since_writer, since) = since::since(epoch);
        let channels = Channels::new(self.capacity);
        Monitor {
            shared: Arc::new(Shared {
                name: self.name,
                interval: self.interval,
                capacity: self.capacity,
                stall_capacity: self.stall_capacity.unwrap_or(self.capacity),
                attachment: Lock::new(Attachment::new(channels, since_writer)),
                since,
                latest,
                engine: Exclusive::new(Engine::new(self.sampler, latest_writer)),
                callbacks: calls::share(self.callbacks),
                stall_callbacks: calls::share(self.stall_callbacks),
                stall_threshold: self.stall_threshold,
                open_stalls: Arc::default(),
                rescue_timers: self.rescue_timers,
                stack_capture: self.stack_capture,
                is_for_test: self.is_for_test,
                demand: Arc::new(Demand::new(self.stall_threshold)),
                account: Arc::new(Account::new(self.stall_threshold)),
                wanted_by_account: Lock::new(None),
                tasks: Tasks::default(),
                #[cfg(any(feature = "tower", feature = "_feed"))]
                admissions: Arc::new(crate::admissions::Admissions::new(epoch)),
            }),
        }
    }

    /// Builds a monitor and installs it on the current runtime.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of [`Monitor::install`].
    pub fn install(self) -> Result<Monitor, Error> {
        let monitor = self.build()?;
        monitor.install()?;
        Ok(monitor)
    }

    /// Builds a monitor and installs it on the given runtime.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of [`Monitor::install_on`].
    pub fn install_on(self, runtime: &Handle) -> Result<Monitor, Error> {
        let monitor = self.build()?;
        monitor.install_on(runtime)?;
        Ok(monitor)
    }
}

impl Monitor {
    /// Sets up a monitor.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("interval", &self.interval)
            .field("capacity", &self.capacity)
            .field("callbacks", &self.callbacks)
            .field("stall_threshold", &self.stall_threshold)
            .field("stall_callbacks", &self.stall_callbacks)
            .finish_non_exhaustive()
    }
}
