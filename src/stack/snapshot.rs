//! A stack on its way from the inspector, which has captured it, to the readers of its trace. It says how far
//! it has come; how it is captured and resolved is the platform's.

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
    /// With what has come of it, if anything has.
    Resolved(Option<Arc<StackTrace>>),
}

impl StackSnapshot {
    /// Captures the stack of a thread. `None` where none are taken. After `until` nothing is waited
    /// for.
    pub(crate) fn take(
        target: Target,
        tracker: &mut OnCpuTracker,
        settings: StackCapture,
        until: Instant,
    ) -> Option<Arc<StackSnapshot>> {
        let capture = platform::capture(target, tracker, settings, until)?;
        Some(Arc::new(StackSnapshot {
            identity: capture.identity(),
            shows_calls: capture.shows_calls(),
            stage: Mutex::new(if capture.shows_calls() {
                Stage::Captured(capture)
            } else {
                // There is nothing to resolve.
                Stage::Resolved(Some(Arc::new(Resolver::default().resolve(capture))))
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

    /// What is to be resolved of it, for who asks first.
    pub(crate) fn unresolved(self: &Arc<Self>) -> Option<Unresolved> {
        let mut stage = self.stage();
        match mem::replace(&mut *stage, Stage::Resolving) {
            Stage::Captured(capture) => Some(Unresolved {
                snapshot: Arc::clone(self),
                capture: Some(capture),
                trace: None,
            }),
            asked => {
                *stage = asked;
                None
            }
        }
    }

    pub(crate) fn is_resolved(&self) -> bool {
        matches!(*self.stage(), Stage::Resolved(_))
    }

    /// What it shows, once it is resolved.
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

/// A stack that is to be resolved. However that ends, its snapshot then counts as resolved.
#[derive(Debug)]
pub(crate) struct Unresolved {
    snapshot: Arc<StackSnapshot>,
    capture: Option<Capture>,
    trace: Option<Arc<StackTrace>>,
}

impl Unresolved {
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

#[cfg(test)]
impl Unresolved {
    /// Of a stack that shows nothing.
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
