//! The stack of a stuck thread.
//!
//! The watchdog captures: it copies what is on the thread's stack while it is stuck. The reader, a
//! thread of its own, finds out which calls the copied bytes are. Nothing is prepared before the
//! first suspicion.

#[cfg(any(feature = "tracing", feature = "opentelemetry"))]
mod culprit;
mod frame;
mod reader;
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

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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

#[cfg(any(feature = "tracing", feature = "opentelemetry"))]
pub(crate) use culprit::culprit;
pub use frame::Frame;
use platform::Resolver;
pub(crate) use platform::{ARE_TAKEN, Run, follow, identify, introduce, own_id};
pub(crate) use reader::{Reader, Unread};
pub use settings::StackTraces;
pub use trace::{Facts, NoStack, Trace};

/// A thread of this process, which is not the calling one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its number in `/proc`.
    pub(crate) shown: u32,
    /// The number by which the process reaches it. It differs where `/proc` is that of another pid
    /// namespace.
    pub(crate) own: u32,
}

/// Who a thread says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The worker that it runs.
    pub(crate) worker: Option<usize>,
    /// The task that it polls.
    pub(crate) task: Option<task::Id>,
}

/// What the stack of a thread shows of the worker it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// It polls a task, as a worker.
    Polls,
    /// It has handed its worker over, by `block_in_place`.
    HandedOver,
}

/// A stack on its way from the watchdog, which has captured it, to the readers of its trace.
#[derive(Debug)]
pub(crate) struct Shot {
    identity: Option<Identity>,
    shows_calls: bool,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    Captured(platform::Capture),
    BeingRead,
    /// With what has come of it, if anything has.
    Read(Option<Arc<Trace>>),
}

impl Shot {
    /// Captures the stack of a thread. `None` where none are taken. After `until` nothing is waited
    /// for.
    pub(crate) fn take(
        target: Target,
        run: &mut Run,
        settings: StackTraces,
        until: Instant,
    ) -> Option<Arc<Shot>> {
        let capture = platform::capture(target, run, settings, until)?;
        Some(Arc::new(Shot {
            identity: capture.identity(),
            shows_calls: capture.shows_calls(),
            stage: Mutex::new(if capture.shows_calls() {
                Stage::Captured(capture)
            } else {
                // There is nothing to read.
                Stage::Read(Some(Arc::new(Resolver::default().resolve(capture))))
            }),
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

    /// What is to be read of it, for who asks first.
    pub(crate) fn unread(self: &Arc<Self>) -> Option<Unread> {
        let mut stage = self.stage();
        match mem::replace(&mut *stage, Stage::BeingRead) {
            Stage::Captured(capture) => Some(Unread::new(Arc::clone(self), Some(capture))),
            asked => {
                *stage = asked;
                None
            }
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        matches!(*self.stage(), Stage::Read(_))
    }

    /// What is to be seen on it, once it is read.
    pub(crate) fn trace(&self) -> Option<Arc<Trace>> {
        match &*self.stage() {
            Stage::Read(trace) => trace.clone(),
            Stage::Captured(_) | Stage::BeingRead => None,
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
