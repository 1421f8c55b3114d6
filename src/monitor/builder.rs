//! How a monitor is set up.

use std::any::TypeId;
use std::fmt;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Monitor;
use super::engine::Drive;
use crate::callback::{Callback, Callbacks, IntoCallbacks};
use crate::error::{Error, Kind};
use crate::sampler::{Sampler, SleepSampler};

/// The longest duration that Tokio's timers hold, as `tokio::time::sleep` documents it.
const LONGEST_INTERVAL: Duration = Duration::from_millis(68_719_476_734);

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
    pub(super) name: Option<Box<str>>,
    pub(super) interval: Duration,
    pub(super) capacity: usize,
    pub(super) callbacks: Callbacks,
    pub(super) sampler: Box<dyn Drive>,
    pub(super) needs_timers: bool,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            name: None,
            interval: Monitor::DEFAULT_INTERVAL,
            capacity: Monitor::DEFAULT_CAPACITY,
            callbacks: Callbacks::default(),
            sampler: Box::new(SleepSampler),
            needs_timers: true,
        }
    }

    /// About how long to wait between samples: [`Monitor::DEFAULT_INTERVAL`] if not set.
    ///
    /// A shorter one costs more and misses less: each sample is a wake-up of the runtime. The
    /// [`SleepSampler`] rounds it up to whole milliseconds.
    pub fn interval(mut self, interval: Duration) -> Builder {
        self.interval = interval;
        self
    }

    /// Labels what the monitor exports: none if not set.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// How many samples each reader may lag behind before it loses its oldest:
    /// [`Monitor::DEFAULT_CAPACITY`] if not set, [`Monitor::MAX_CAPACITY`] at most.
    ///
    /// All readers share one buffer of this many samples, of less than 100 bytes each.
    pub fn capacity(mut self, capacity: usize) -> Builder {
        self.capacity = capacity;
        self
    }

    /// Adds a function to be called with each sample. See [`Callback`].
    pub fn callback(self, callback: impl Callback) -> Builder {
        self.callbacks([callback])
    }

    /// Adds several: an array, a `Vec`, or a tuple of different ones.
    pub fn callbacks(mut self, callbacks: impl IntoCallbacks) -> Builder {
        self.callbacks.append(callbacks.into_callbacks());
        self
    }

    /// How lag is measured: by a [`SleepSampler`] if not set.
    pub fn sampler<S: Sampler>(mut self, sampler: S) -> Builder {
        self.needs_timers = TypeId::of::<S>() == TypeId::of::<SleepSampler>();
        self.sampler = Box::new(sampler);
        self
    }

    /// A monitor that is not attached to a runtime yet.
    ///
    /// # Errors
    ///
    /// If the interval is zero or longer than timers hold, or the capacity is zero or more than
    /// [`Monitor::MAX_CAPACITY`].
    pub fn build(self) -> Result<Monitor, Error> {
        if self.interval.is_zero() {
            return Err(Kind::ZeroInterval.into());
        }
        if self.interval > LONGEST_INTERVAL {
            return Err(Kind::IntervalTooLong.into());
        }
        if self.capacity == 0 {
            return Err(Kind::ZeroCapacity.into());
        }
        if self.capacity > Monitor::MAX_CAPACITY {
            return Err(Kind::CapacityTooLarge.into());
        }
        Ok(Monitor::new(self))
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

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("interval", &self.interval)
            .field("capacity", &self.capacity)
            .field("callbacks", &self.callbacks)
            .finish_non_exhaustive()
    }
}
