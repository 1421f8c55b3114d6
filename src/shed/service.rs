//! A service that refuses requests while its runtime is overloaded.

use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::classify::Classify;
use super::future::ResponseFuture;
use super::refuse::{Refuse, WithError};
use super::{Overloaded, Policy, Priority};

/// A service that refuses requests while its runtime is overloaded. From a [`ShedLayer`](super::ShedLayer).
///
/// It is as ready as the service within: a service that is not ready is not called, and refuses nothing either.
/// It decides in `call`, before the service within is called. A request that is refused uses nothing of that; what
/// the service within reserved when it became ready is used by the next request.
#[derive(Debug, Clone)]
pub struct Shed<S, R = WithError, C = Priority> {
    inner: S,
    settings: Settings<R, C>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings<R, C> {
    pub(super) policy: Policy,
    pub(super) refuse: R,
    pub(super) classify: C,
    pub(super) retry_after: Duration,
}

impl<S, R, C> Shed<S, R, C> {
    pub(super) fn new(inner: S, settings: Settings<R, C>) -> Shed<S, R, C> {
        Shed { inner, settings }
    }

    /// Returns the service within.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the service within.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the service within, and drops the rest.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Returns the policy that decides.
    pub fn policy(&self) -> &Policy {
        &self.settings.policy
    }
}

impl<Request, S, R, C> Service<Request> for Shed<S, R, C>
where
    S: Service<Request>,
    R: Refuse<S::Response, S::Error>,
    C: Classify<Request>,
{
    type Response = S::Response;
    type Error = R::Error;
    type Future = ResponseFuture<S::Future, R, S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(cx).map_err(R::from_inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Settings {
            policy,
            refuse,
            classify,
            retry_after,
        } = &self.settings;
        match policy.admit(classify.classify(&request)) {
            Ok(()) => ResponseFuture::admitted(self.inner.call(request)),
            Err(overloaded) => ResponseFuture::refused(refuse.refuse(Overloaded {
                retry_after: *retry_after,
                ..overloaded
            })),
        }
    }
}
