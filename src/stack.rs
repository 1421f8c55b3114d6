//! The stack of a stuck thread.
//!
//! The watchdog captures: it copies what is on the thread's stack while it is stuck. The reporter
//! resolves: it finds out which calls the copied bytes are. Nothing is prepared before the first
//! stall.

mod frame;
mod settings;
mod trace;

#[cfg(all(
    feature = "stack",
    not(loopmon_loom),
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod linux;
#[cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#[allow(unsafe_code, reason = "a thread is asked by a signal, and handles it")]
mod sys;
#[cfg(not(all(
    feature = "stack",
    not(loopmon_loom),
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod unsupported;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task;

#[cfg(all(
    feature = "stack",
    not(loopmon_loom),
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
use linux as platform;
#[cfg(not(all(
    feature = "stack",
    not(loopmon_loom),
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
use unsupported as platform;

pub use frame::Frame;
pub(crate) use platform::{Resolver, identify, introduce};
pub use settings::StackTraces;
pub use trace::{Facts, NoStack, Trace};

/// Who a thread says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The worker that it runs.
    pub(crate) worker: Option<usize>,
    /// The task that it polls.
    pub(crate) task: Option<task::Id>,
}

/// A stack on its way from the watchdog, which has captured it, to the readers of its trace.
#[derive(Debug)]
pub(crate) struct Shot {
    identity: Option<Identity>,
    shows_calls: bool,
    capture: Mutex<Option<platform::Capture>>,
    trace: OnceLock<Arc<Trace>>,
}

impl Shot {
    /// Captures the stack of a thread of this process, which is not the calling one. `None` where
    /// none are taken.
    pub(crate) fn take(thread: u32, settings: StackTraces) -> Option<Arc<Shot>> {
        let capture = platform::capture(thread, settings)?;
        Some(Arc::new(Shot {
            identity: capture.identity(),
            shows_calls: capture.shows_calls(),
            capture: Mutex::new(Some(capture)),
            trace: OnceLock::new(),
        }))
    }

    /// Who the thread said it was, if it was asked.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether there is a stack.
    pub(crate) fn shows_calls(&self) -> bool {
        self.shows_calls
    }

    /// What is to be seen on it. Takes its time when it is called first.
    pub(crate) fn trace(&self, resolver: &mut Resolver) -> Option<Arc<Trace>> {
        let mut capture = self.capture.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(capture) = capture.take() {
            let trace = Arc::new(resolver.resolve(capture));
            return Some(Arc::clone(self.trace.get_or_init(|| trace)));
        }
        self.trace.get().cloned()
    }
}
