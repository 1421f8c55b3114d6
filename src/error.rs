//! What can go wrong when a monitor is set up.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong when a monitor, or something it is given, was set up.
///
/// The kinds are told apart with the `is_*` predicates, so that new ones can be added. The message
/// says what to do about it. Where another error is behind it, such as the operating system's, it is
/// the [`source`](StdError::source).
///
/// ```
/// use std::time::Duration;
///
/// let error = loopmon::Monitor::builder()
///     .interval(Duration::ZERO)
///     .build()
///     .unwrap_err();
/// assert!(error.is_zero_interval());
/// ```
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    NoRuntime,
    RuntimeShutDown,
    TimersDisabled,
    AlreadyInstalled,
    AlreadyRunning,
    ZeroInterval,
    IntervalTooLong,
    ZeroCapacity,
    CapacityTooLarge,
    InvalidPercentile,
    InvertedThresholds,
    ZeroStallThreshold,
    ThreadRefused,
    DescriptorsRefused,
    SamplerFailed,
    UnusableSignal,
    AlreadyExported,
}

impl Error {
    pub(crate) fn new(kind: Kind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error {
            kind,
            source: Some(Arc::from(source.into())),
        }
    }

    /// A sampler cannot start, for the reason given: for [`Sampler::start`](crate::Sampler::start).
    ///
    /// ```
    /// use std::error::Error as _;
    ///
    /// let error = loopmon::Error::sampler_failed("no such counter");
    /// assert!(error.is_sampler_failed());
    /// assert_eq!(error.source().unwrap().to_string(), "no such counter");
    /// ```
    #[must_use]
    pub fn sampler_failed(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::new(Kind::SamplerFailed, reason)
    }

    /// The sampler could not start.
    #[must_use]
    pub fn is_sampler_failed(&self) -> bool {
        self.kind == Kind::SamplerFailed
    }

    /// The operating system refused the file descriptors that a thread of loopmon's own needs: for
    /// the callbacks of stalls, or an export.
    #[must_use]
    pub fn is_descriptors_refused(&self) -> bool {
        self.kind == Kind::DescriptorsRefused
    }

    /// No Tokio runtime is current on this thread.
    #[must_use]
    pub fn is_no_runtime(&self) -> bool {
        self.kind == Kind::NoRuntime
    }

    /// The runtime has shut down.
    #[must_use]
    pub fn is_runtime_shut_down(&self) -> bool {
        self.kind == Kind::RuntimeShutDown
    }

    /// The runtime was built without timers, which the default sampler needs.
    #[must_use]
    pub fn is_timers_disabled(&self) -> bool {
        self.kind == Kind::TimersDisabled
    }

    /// The monitor is installed on a runtime already.
    #[must_use]
    pub fn is_already_installed(&self) -> bool {
        self.kind == Kind::AlreadyInstalled
    }

    /// The monitor is driven by a call of [`Monitor::run`](crate::Monitor::run) already.
    #[must_use]
    pub fn is_already_running(&self) -> bool {
        self.kind == Kind::AlreadyRunning
    }

    /// The interval is zero.
    #[must_use]
    pub fn is_zero_interval(&self) -> bool {
        self.kind == Kind::ZeroInterval
    }

    /// The interval is longer than Tokio's timers hold, about 2.2 years.
    #[must_use]
    pub fn is_interval_too_long(&self) -> bool {
        self.kind == Kind::IntervalTooLong
    }

    /// The capacity is zero.
    #[must_use]
    pub fn is_zero_capacity(&self) -> bool {
        self.kind == Kind::ZeroCapacity
    }

    /// The capacity is more than [`Monitor::MAX_CAPACITY`](crate::Monitor::MAX_CAPACITY).
    #[must_use]
    pub fn is_capacity_too_large(&self) -> bool {
        self.kind == Kind::CapacityTooLarge
    }

    /// The percentile is not a number from 0 to 100.
    #[must_use]
    pub fn is_invalid_percentile(&self) -> bool {
        self.kind == Kind::InvalidPercentile
    }

    /// The threshold that raises an alert is below the one that clears it.
    #[must_use]
    pub fn is_inverted_thresholds(&self) -> bool {
        self.kind == Kind::InvertedThresholds
    }

    /// The [signal](crate::StackCapture::signal) is one that a program cannot take for itself.
    #[must_use]
    pub fn is_unusable_signal(&self) -> bool {
        self.kind == Kind::UnusableSignal
    }

    /// The monitor is exported by this exporter already.
    #[must_use]
    pub fn is_already_exported(&self) -> bool {
        self.kind == Kind::AlreadyExported
    }

    /// The stall threshold is zero.
    #[must_use]
    pub fn is_zero_stall_threshold(&self) -> bool {
        self.kind == Kind::ZeroStallThreshold
    }

    /// The operating system refused a thread of loopmon's own: for stalls, their callbacks, an export, or
    /// the [`WakeSampler`](crate::WakeSampler).
    #[must_use]
    pub fn is_thread_refused(&self) -> bool {
        self.kind == Kind::ThreadRefused
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Error {
        Error { kind, source: None }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut error = f.debug_tuple("Error");
        error.field(&self.kind);
        if let Some(source) = &self.source {
            error.field(source);
        }
        error.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::NoRuntime => {
                "no Tokio runtime is current on this thread: call this from within one, or use \
                 `install_on` with its `Handle`"
            }
            Kind::RuntimeShutDown => {
                "the runtime has shut down: install the monitor on one that is alive"
            }
            Kind::TimersDisabled => {
                "the runtime has no timers, which the sleep sampler needs: build it with \
                 `enable_time()` or `enable_all()`, or give the monitor a `WakeSampler`"
            }
            Kind::AlreadyInstalled => {
                "the monitor is installed already: `stop()` it first, or build one monitor for each \
                 runtime"
            }
            Kind::AlreadyRunning => {
                "the monitor is driven by `run()` already: `stop()` it first, or build one monitor \
                 for each runtime"
            }
            Kind::ZeroInterval => {
                "the interval is zero: give at least a millisecond, the step of Tokio's timers"
            }
            Kind::IntervalTooLong => {
                "the interval is longer than Tokio's timers hold: give at most 68719476734 ms, about \
                 2.2 years"
            }
            Kind::ZeroCapacity => {
                "the capacity is zero: give the number of samples a reader may lag behind"
            }
            Kind::CapacityTooLarge => {
                "the capacity is too large: its buffer is allocated at once, so give at most \
                 `Monitor::MAX_CAPACITY`"
            }
            Kind::InvalidPercentile => {
                "the percentile is not a number from 0 to 100: give 50.0 for the median, 99.9 for \
                 the 99.9th"
            }
            Kind::InvertedThresholds => {
                "the alert would be raised at a shorter lag than it is cleared at: give `raise_at` \
                 first, and a `clear_at` that is not longer"
            }
            Kind::UnusableSignal => {
                "the signal cannot be handled, or is needed for something else: give SIGURG (23), \
                 SIGUSR1 (10), SIGUSR2 (12) or a real-time signal from 35 to 64"
            }
            Kind::AlreadyExported => {
                "the monitor is exported there already: export each monitor once, or `finish` the \
                 other export first"
            }
            Kind::ZeroStallThreshold => {
                "the stall threshold is zero: give at least a millisecond, the shortest time between \
                 two looks"
            }
            Kind::ThreadRefused => {
                "the operating system refused a thread, which stall detection, exports and the wake \
                 sampler need: raise the limit on threads, or do without them"
            }
            Kind::DescriptorsRefused => {
                "the operating system refused file descriptors, which stall callbacks and exports \
                 need three of: raise the limit on open files, or do without them"
            }
            Kind::SamplerFailed => {
                "the sampler could not start: see the source of this error, or give the monitor \
                 another sampler"
            }
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
