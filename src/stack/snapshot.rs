//! A stack on its way from the inspector, which captures it, to the subscribers, which read its trace. This
//! file knows how far a stack has come; how it is captured and resolved is the platform's.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::platform::{self, Capture, OnCpuTracker, Resolver};
use super::settings::StackCapture;
use super::target::{Identity, Target};
use super::trace::StackTrace;

#[derive(Debug)]
pub(crate) struct StackSnapshot {
    identity: Option<Identity>,
    shows_calls: bool,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    Captured(Capture),
    Resolving,
    /// `None` if resolving it failed.
    Resolved(Option<Arc<StackTrace>>),
}

impl StackSnapshot {
    /// Captures the stack of a thread, and waits for nothing after `until`. Returns `None` if stacks are
    /// switched off or unsupported.
    pub(crate) fn take(
        target: Target,
        tracker: &mut OnCpuTracker,
        settings: &StackCapture,
        until: Instant,
    ) -> Option<Arc<StackSnapshot>> {
        let capture = platform::capture(target, tracker, settings, until)?;
        Some(StackSnapshot::of(capture))
    }

    /// Returns the stack for which the thread was asked in vain, if it has answered since.
    pub(crate) fn answered_late(
        tracker: &mut OnCpuTracker,
        settings: &StackCapture,
    ) -> Option<Arc<StackSnapshot>> {
        platform::answered_late(tracker, settings).map(StackSnapshot::of)
    }

    fn of(capture: Capture) -> Arc<StackSnapshot> {
        Arc::new(StackSnapshot {
            identity: capture.identity(),
            shows_calls: capture.shows_calls(),
            stage: Mutex::new(if capture.shows_calls() {
                Stage::Captured(capture)
            } else {
                // Without a stack, there is nothing to resolve.
                Stage::Resolved(Some(Arc::new(Resolver::default().resolve(capture))))
            }),
        })
    }

    /// Returns the worker and the task that the thread answered with, if it was asked.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether there is a stack.
    pub(crate) fn shows_calls(&self) -> bool {
        self.shows_calls
    }

    /// Returns the stack to resolve, once: to the first caller.
    pub(crate) fn unresolved(self: &Arc<Self>) -> Option<Unresolved> {
        let mut stage = self.stage();
        match mem::replace(&mut *stage, Stage::Resolving) {
            Stage::Captured(capture) => Some(Unresolved {
                snapshot: Arc::clone(self),
                capture: Some(capture),
                trace: None,
            }),
            later => {
                *stage = later;
                None
            }
        }
    }

    pub(crate) fn is_resolved(&self) -> bool {
        matches!(*self.stage(), Stage::Resolved(_))
    }

    /// Returns the trace, once the stack is resolved.
    pub(crate) fn trace(&self) -> Option<Arc<StackTrace>> {
        match &*self.stage() {
            Stage::Resolved(trace) => trace.clone(),
            Stage::Captured(_) | Stage::Resolving => None,
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stack to resolve. Once it is dropped, its snapshot counts as resolved, even after a panic.
#[derive(Debug)]
pub(crate) struct Unresolved {
    snapshot: Arc<StackSnapshot>,
    capture: Option<Capture>,
    trace: Option<Arc<StackTrace>>,
}

impl Unresolved {
    /// Whether anybody else still has the snapshot.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.snapshot) > 1
    }

    pub(super) fn resolve(mut self, resolver: &mut Resolver) {
        let capture = self.capture.take();
        self.trace = capture.map(|capture| Arc::new(resolver.resolve(capture)));
    }
}

impl Drop for Unresolved {
    fn drop(&mut self) {
        *self.snapshot.stage() = Stage::Resolved(self.trace.take());
    }
}

#[cfg(all(test, not(loopmon_loom)))]
impl Unresolved {
    /// Returns one without a capture, whose snapshot is being resolved.
    pub(crate) fn empty() -> (Arc<StackSnapshot>, Unresolved) {
        let snapshot = Arc::new(StackSnapshot {
            identity: None,
            shows_calls: true,
            stage: Mutex::new(Stage::Resolving),
        });
        let unresolved = Unresolved {
            snapshot: Arc::clone(&snapshot),
            capture: None,
            trace: None,
        };
        (snapshot, unresolved)
    }

    pub(crate) fn come_out(mut self, trace: &Arc<StackTrace>) {
        self.trace = Some(Arc::clone(trace));
    }
}
