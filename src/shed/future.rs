//! The future of the shedding service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::refuse::Refuse;

pin_project! {
    /// The future of [`Shed`](super::Shed): that of the service within, or the answer to a refused request.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, R, Response, E>
    where
        R: Refuse<Response, E>,
    {
        #[pin]
        state: State<F, Result<Response, R::Error>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, A> {
        Admitted { #[pin] future: F },
        // `None` once it has been returned.
        Refused { answer: Option<A> },
    }
}

impl<F, R: Refuse<Response, E>, Response, E> ResponseFuture<F, R, Response, E> {
    pub(super) fn admitted(future: F) -> ResponseFuture<F, R, Response, E> {
        ResponseFuture {
            state: State::Admitted { future },
        }
    }

    pub(super) fn refused(answer: Result<Response, R::Error>) -> ResponseFuture<F, R, Response, E> {
        ResponseFuture {
            state: State::Refused {
                answer: Some(answer),
            },
        }
    }
}

impl<F, R, Response, E> Future for ResponseFuture<F, R, Response, E>
where
    F: Future<Output = Result<Response, E>>,
    R: Refuse<Response, E>,
{
    type Output = Result<Response, R::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Admitted { future } => {
                future.poll(cx).map(|result| result.map_err(R::from_inner))
            }
            // As every future, it must not be polled after it is done.
            StateProjection::Refused { answer } => answer.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl<F, R: Refuse<Response, E>, Response, E> fmt::Debug for ResponseFuture<F, R, Response, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_refused = matches!(self.state, State::Refused { .. });
        f.debug_struct("ResponseFuture")
            .field("is_refused", &is_refused)
            .finish_non_exhaustive()
    }
}
