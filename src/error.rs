//! The one error type of the crate. Errors arise while something is set up; nothing that runs returns
//! one.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// An error in setting up a monitor, an exporter or one of their settings.
///
/// The `is_*` predicates distinguish the kinds of error; new kinds may be added. The message says
/// what to do. An underlying error, such as the operating system's, is the
/// [`source`](StdError::source).
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

/// Defines the kinds of error, each with its message: what is wrong, and what to do.
macro_rules! kinds {
    ($($kind:ident: $message:literal,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)+
        }

        impl Kind {
            fn message(self) -> &'static str {
                match self {
                    $(Kind::$kind => $message,)+
                }
            }
        }
    };
}

kinds! {
    NoRuntime:
        "no Tokio runtime is current on this thread: call this inside a runtime, or call \
         `install_on` with the runtime's `Handle`",
    RuntimeShutDown:
        "the runtime has shut down: install the monitor on one that is running",
    TimersDisabled:
        "the runtime has no timers, which the sleep sampler needs: build it with \
         `enable_time()` or `enable_all()`, or give the monitor a `WakeSampler`",
    AlreadyInstalled:
        "the monitor is already installed: `stop()` it first, or build one monitor for each \
         runtime",
    AlreadyRunning:
        "the monitor is already driven by `run()`: `stop()` it first, or build one monitor \
         for each runtime",
    ZeroInterval:
        "the interval is zero: give at least a millisecond, the resolution of Tokio's timers",
    IntervalTooLong:
        "the interval is longer than Tokio's timers hold: give at most 68719476734 ms, about \
         2.2 years",
    ZeroCapacity:
        "the capacity is zero: give the number of samples that a reader may lag behind",
    CapacityTooLarge:
        "the capacity is too large: the whole buffer is allocated at once, so give at most \
         `Monitor::MAX_CAPACITY`",
    InvalidPercentile:
        "the percentile is not a number from 0 to 100: give 50.0 for the median, 99.9 for \
         the 99.9th",
    InvertedThresholds:
        "the alert would be raised at a shorter lag than it is cleared at: give `raise_at` \
         first, then a `clear_at` that does not exceed it",
    UnusableSignal:
        "the signal cannot be handled, or has another use: give SIGURG (23), SIGUSR1 (10), \
         SIGUSR2 (12) or a real-time signal from 35 to 64",
    AlreadyExported:
        "the exporter already exports this monitor: export each monitor once, or `finish` the \
         other export first",
    ZeroStallThreshold:
        "the stall threshold is zero: give at least a millisecond, the shortest tick of the \
         watchdog",
    ThreadRefused:
        "the operating system refused a thread, which stall detection, exports and the wake \
         sampler need: raise the limit on threads, or use none of them",
    DescriptorsRefused:
        "the operating system refused file descriptors: stall callbacks and exports need three, \
         so raise the limit on open files, or use neither",
    SamplerFailed:
        "the sampler could not start: fix the source of this error, or give the monitor \
         another sampler",
}

impl Error {
    pub(crate) fn new(kind: Kind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error {
            kind,
            source: Some(Arc::from(source.into())),
        }
    }

    /// Creates the error of a sampler that cannot start, for [`Sampler::start`](crate::Sampler::start).
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

    /// Whether the sampler could not start.
    #[must_use]
    pub fn is_sampler_failed(&self) -> bool {
        self.kind == Kind::SamplerFailed
    }

    /// Whether the operating system refused the file descriptors that one of loopmon's threads needs:
    /// for stall callbacks or an export.
    #[must_use]
    pub fn is_descriptors_refused(&self) -> bool {
        self.kind == Kind::DescriptorsRefused
    }

    /// Whether no Tokio runtime is current on this thread.
    #[must_use]
    pub fn is_no_runtime(&self) -> bool {
        self.kind == Kind::NoRuntime
    }

    /// Whether the runtime has shut down.
    #[must_use]
    pub fn is_runtime_shut_down(&self) -> bool {
        self.kind == Kind::RuntimeShutDown
    }

    /// Whether the runtime was built without timers, which the default sampler needs.
    #[must_use]
    pub fn is_timers_disabled(&self) -> bool {
        self.kind == Kind::TimersDisabled
    }

    /// Whether the monitor is already installed on a runtime.
    #[must_use]
    pub fn is_already_installed(&self) -> bool {
        self.kind == Kind::AlreadyInstalled
    }

    /// Whether a call of [`Monitor::run`](crate::Monitor::run) already drives the monitor.
    #[must_use]
    pub fn is_already_running(&self) -> bool {
        self.kind == Kind::AlreadyRunning
    }

    /// Whether the interval is zero.
    #[must_use]
    pub fn is_zero_interval(&self) -> bool {
        self.kind == Kind::ZeroInterval
    }

    /// Whether the interval exceeds what Tokio's timers hold, about 2.2 years.
    #[must_use]
    pub fn is_interval_too_long(&self) -> bool {
        self.kind == Kind::IntervalTooLong
    }

    /// Whether the capacity is zero.
    #[must_use]
    pub fn is_zero_capacity(&self) -> bool {
        self.kind == Kind::ZeroCapacity
    }

    /// Whether the capacity exceeds [`Monitor::MAX_CAPACITY`](crate::Monitor::MAX_CAPACITY).
    #[must_use]
    pub fn is_capacity_too_large(&self) -> bool {
        self.kind == Kind::CapacityTooLarge
    }

    /// Whether the percentile is not a number from 0 to 100.
    #[must_use]
    pub fn is_invalid_percentile(&self) -> bool {
        self.kind == Kind::InvalidPercentile
    }

    /// Whether the threshold that raises an alert is below the one that clears it.
    #[must_use]
    pub fn is_inverted_thresholds(&self) -> bool {
        self.kind == Kind::InvertedThresholds
    }

    /// Whether the [signal](crate::StackCapture::signal) cannot be handled or has another use.
    #[must_use]
    pub fn is_unusable_signal(&self) -> bool {
        self.kind == Kind::UnusableSignal
    }

    /// Whether this exporter already exports the monitor.
    #[must_use]
    pub fn is_already_exported(&self) -> bool {
        self.kind == Kind::AlreadyExported
    }

    /// Whether the stall threshold is zero.
    #[must_use]
    pub fn is_zero_stall_threshold(&self) -> bool {
        self.kind == Kind::ZeroStallThreshold
    }

    /// Whether the operating system refused one of loopmon's threads: for stall detection, stall
    /// callbacks, an export or the [`WakeSampler`](crate::WakeSampler).
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
        f.write_str(self.kind.message())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
