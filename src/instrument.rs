//! The instrumented future, as users hold it. How its polls are watched: `polls.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::polls::{Demand, PolledFuture};

pin_project! {
    /// A future whose polls are watched, from [`Monitor::instrument`](crate::Monitor::instrument).
    ///
    /// It polls and drops the future that it wraps, and returns its output. It is `Unpin` and `Send` if that
    /// future is. The drop of the future is not watched.
    #[must_use = "futures do nothing unless polled"]
    pub struct Instrumented<F> {
        polled: PolledFuture,
        #[pin]
        future: F,
    }
}

impl<F> Instrumented<F> {
    pub(crate) fn new(name: Arc<str>, demand: Arc<Demand>, future: F) -> Instrumented<F> {
        Instrumented {
            polled: PolledFuture::new(name, demand),
            future,
        }
    }

    /// The name of the future, which its stalls have.
    #[must_use]
    pub fn name(&self) -> &str {
        self.polled.name()
    }

    /// The wrapped future.
    #[must_use]
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The wrapped future.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The wrapped future, pinned.
    #[must_use]
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().future
    }

    /// Returns the wrapped future, whose polls are then no longer watched.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Instrumented<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _polling = this.polled.begin();
        this.future.poll(cx)
    }
}

impl<F: fmt::Debug> fmt::Debug for Instrumented<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instrumented")
            .field("name", &self.name())
            .field("future", &self.future)
            .finish()
    }
}
