//! Runs foreign code, which is not loopmon's own: wakers, callbacks, samplers, and their destructors. Where
//! and when it runs is up to others.
//!
//! A panic of foreign code harms nothing but itself. The process's panic hook has reported it by the time it
//! is caught here.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// The payload of a panic. Its destructor is foreign code, too.
#[derive(Debug)]
pub(crate) struct Panic(Option<Box<dyn Any + Send>>);

impl Panic {
    /// Resumes the panic, for a caller whose own code has panicked.
    pub(crate) fn resume(mut self) -> ! {
        let payload = self.0.take();
        std::panic::resume_unwind(payload.unwrap_or_else(|| Box::new(())))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let Some(payload) = self.0.take() else {
            return;
        };
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // The destructor of that may panic again, without end.
            std::mem::forget(another);
        }
    }
}

/// Calls foreign code. The caller must hold no lock of loopmon.
pub(crate) fn call<R>(code: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Panic(Some(payload)))
}

/// Drops a foreign value. The caller must hold no lock of loopmon.
pub(crate) fn discard<T>(value: T) {
    call(|| drop(value)).ok();
}

pin_project! {
    /// A foreign future, which may panic when it is polled and when it is dropped.
    #[derive(Debug)]
    pub(crate) struct Foreign<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Foreign<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            call(|| future.set(None)).ok();
        }
    }
}

impl<F> Foreign<F> {
    pub(crate) fn new(future: F) -> Foreign<F> {
        Foreign {
            future: Some(future),
        }
    }
}

impl<F: Future> Future for Foreign<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let polled = match future.as_mut().as_pin_mut() {
            Some(future) => call(|| future.poll(cx)),
            None => return Poll::Pending,
        };
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        // Drops the future here, not while a panic unwinds: a second panic would then abort the process.
        call(|| future.set(None)).ok();
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Panics when it is polled, when it is dropped, and when that panic is dropped.
    struct Hostile;

    impl Future for Hostile {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            std::panic::panic_any(Hostile)
        }
    }

    impl Drop for Hostile {
        fn drop(&mut self) {
            panic!("a destructor's own mistake")
        }
    }

    #[test]
    fn a_future_that_panics_wherever_it_can_is_over() {
        let ended = Foreign::new(Hostile).now_or_never().unwrap();
        drop(ended.unwrap_err());
        drop(Foreign::new(Hostile));
        discard(Hostile);
    }
}
