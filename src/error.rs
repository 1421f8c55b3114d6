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

/// Defines the kinds of error, each with its predicate and its message: what is wrong, and what to do.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $is:ident, $kind:ident: $message:literal,)+) => {
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

        impl Error {
            $(
                $(#[$doc])+
                #[must_use]
                pub fn $is(&self) -> bool {
                    self.kind == Kind::$kind
                }
            )+
        }
    };
}

kinds! {
    /// Whether no Tokio runtime is current on this thread.
    is_no_runtime, NoRuntime:
        "no Tokio runtime is current on this thread: call this inside a runtime, or call \
         `install_on` with the runtime's `Handle`",
    /// Whether the runtime has shut down.
    is_runtime_shut_down, RuntimeShutDown:
        "the runtime has shut down: install the monitor on one that is running",
    /// Whether the runtime was built without timers, which the default sampler and the
    /// [`BlockingPoolSampler`](struct@crate::BlockingPoolSampler) need.
    is_timers_disabled, TimersDisabled:
        "the runtime has no timers, which the sleep and the blocking pool sampler need: build it \
         with `enable_time()` or `enable_all()`, or give the monitor a `WakeSampler`",
    /// Whether the monitor is already installed on a runtime.
    is_already_installed, AlreadyInstalled:
        "the monitor is already installed: `stop()` it first, or build one monitor for each \
         runtime",
    /// Whether a call of [`Monitor::run`](crate::Monitor::run) already drives the monitor.
    is_already_running, AlreadyRunning:
        "the monitor is already driven by `run()`: `stop()` it first, or build one monitor \
         for each runtime",
    /// Whether the interval is zero.
    is_zero_interval, ZeroInterval:
        "the interval is zero: give at least a millisecond, the resolution of Tokio's timers",
    /// Whether the interval exceeds what Tokio's timers hold, about 2.2 years.
    is_interval_too_long, IntervalTooLong:
        "the interval is longer than Tokio's timers hold: give at most 68719476734 ms, about \
         2.2 years",
    /// Whether the capacity is zero.
    is_zero_capacity, ZeroCapacity:
        "the capacity is zero: give the number of samples that a reader may lag behind",
    /// Whether the capacity exceeds [`Monitor::MAX_CAPACITY`](crate::Monitor::MAX_CAPACITY).
    is_capacity_too_large, CapacityTooLarge:
        "the capacity is too large: the whole buffer is allocated at once, so give at most \
         `Monitor::MAX_CAPACITY`",
    /// Whether the percentile is not a number from 0 to 100.
    is_invalid_percentile, InvalidPercentile:
        "the percentile is not a number from 0 to 100: give 50.0 for the median, 99.9 for \
         the 99.9th",
    /// Whether the threshold that raises an alert is below the one that clears it.
    is_inverted_thresholds, InvertedThresholds:
        "the alert would be raised at a shorter lag than it is cleared at: give `raise_at` \
         first, then a `clear_at` that does not exceed it",
    /// Whether the [signal](crate::StackCapture::signal) cannot be handled or has another use.
    is_unusable_signal, UnusableSignal:
        "the signal cannot be handled, or has another use: give SIGURG (23), SIGUSR1 (10), \
         SIGUSR2 (12) or a real-time signal from 35 to 64",
    /// Whether this exporter already exports the monitor.
    is_already_exported, AlreadyExported:
        "the exporter already exports this monitor: export each monitor once, or `finish` the \
         other export first",
    /// Whether the stall threshold is zero.
    is_zero_stall_threshold, ZeroStallThreshold:
        "the stall threshold is zero: give at least a millisecond, the shortest tick of the \
         watchdog",
    /// Whether the operating system refused one of loopmon's threads: for stall detection, stall
    /// callbacks, an export or the [`WakeSampler`](crate::WakeSampler).
    is_thread_refused, ThreadRefused:
        "the operating system refused a thread, which stall detection, exports and the wake \
         sampler need: raise the limit on threads, or use none of them",
    /// Whether the operating system refused the file descriptors that one of loopmon's threads needs:
    /// for stall callbacks or an export.
    is_descriptors_refused, DescriptorsRefused:
        "the operating system refused file descriptors: stall callbacks and exports need three, \
         so raise the limit on open files, or use neither",
    /// Whether another program, or another part of this one, listens on the port.
    is_address_in_use, AddressInUse:
        "something listens on this port already: give another one, or 0 for any that is free",
    /// Whether the system does not let the program listen on the address.
    is_address_unavailable, AddressUnavailable:
        "the system does not let the program listen there: give an address of this machine, and a \
         port from 1024 on",
    /// Whether the address can be reached from other machines.
    is_not_loopback, NotLoopback:
        "other machines can reach this address, and whoever does can read the page: give a loopback \
         address such as 127.0.0.1, or call `bind_beyond_loopback` if that is what you want",
    /// Whether the dashboard has no address.
    is_not_bound, NotBound:
        "the dashboard has no address to listen on: call `bind` first",
    /// Whether the sampler could not start.
    is_sampler_failed, SamplerFailed:
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
