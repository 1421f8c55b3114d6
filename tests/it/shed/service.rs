//! The layer around any tower service.

use std::error::Error;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use loopmon::shed::{Overloaded, Policy, Priority, Reason, Shed, ShedLayer};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::overloaded;
use crate::support::millis;

type BoxError = Box<dyn Error + Send + Sync>;

/// Doubles a number, and counts the calls. Each call needs to be ready anew, as those of tower's own tests do.
#[derive(Debug, Default)]
struct Double {
    calls: Arc<AtomicUsize>,
    ready: bool,
    is_busy: bool,
}

impl Clone for Double {
    fn clone(&self) -> Double {
        Double {
            calls: Arc::clone(&self.calls),
            ready: false,
            is_busy: self.is_busy,
        }
    }
}

impl Service<u32> for Double {
    type Response = u32;
    type Error = std::io::Error;
    type Future = Ready<Result<u32, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        if self.is_busy {
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(match request {
            0 => Err(std::io::Error::other("zero")),
            request => Ok(2 * request),
        })
    }
}

/// A way to answer; the others are HTTP's.
fn shed(policy: &Policy) -> Shed<Double> {
    ShedLayer::new(policy).layer(Double::default())
}

#[test]
fn a_refusal_is_an_error_that_can_be_matched() {
    overloaded(async |policy, hand| {
        let mut service = shed(&policy);
        let error = service.ready().await.unwrap().call(1).await.unwrap_err();
        let refusal = error.downcast_ref::<Overloaded>().unwrap();
        assert_eq!(refusal.reason(), Reason::Lag);
        assert_eq!(refusal.retry_after(), Duration::from_secs(1));
        assert_eq!(error.to_string(), "overloaded: the event loop runs late");
        assert_eq!(service.get_ref().calls.load(Ordering::Relaxed), 0);

        hand.publish(Duration::ZERO).await;
        assert_eq!(service.ready().await.unwrap().call(21).await.unwrap(), 42);
        let error = service.ready().await.unwrap().call(0).await.unwrap_err();
        assert!(error.is::<std::io::Error>());
        assert_eq!(service.into_inner().calls.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn it_is_as_ready_as_the_service_within() {
    overloaded(async |policy, _| {
        let mut service = shed(&policy);
        service.get_mut().is_busy = true;
        let mut service = task::spawn(service);
        assert_pending!(service.enter(|cx, mut service| service.poll_ready(cx)));
        service.get_mut().is_busy = false;
        assert_ready!(service.enter(|cx, mut service| service.poll_ready(cx))).unwrap();
        // A refused call leaves the readiness for the next, and a clone has none.
        assert!(service.call(1).await.is_err());
        assert!(service.get_ref().ready);
        assert!(!service.clone().get_ref().ready);
    });
}

#[test]
fn an_answer_of_ones_own_keeps_the_types_of_the_service() {
    #[derive(Debug, PartialEq)]
    enum Failure {
        Busy(Reason),
    }
    overloaded(async |policy, hand| {
        let inner = service_fn(|text: &'static str| ready(Ok::<_, Failure>(text)));
        let layer = ShedLayer::with(&policy, |overloaded: Overloaded| {
            Err(Failure::Busy(overloaded.reason()))
        });
        let service = layer.layer(inner);
        let answer = service.clone().oneshot("hello").await;
        assert_eq!(answer, Err(Failure::Busy(Reason::Lag)));
        hand.publish(Duration::ZERO).await;
        assert_eq!(service.oneshot("hello").await, Ok("hello"));
        // An answer may as well be a response.
        hand.publish(millis(50)).await;
        let layer = ShedLayer::with(&policy, |_| Ok("later"));
        assert_eq!(layer.layer(inner).oneshot("hello").await, Ok("later"));
    });
}

#[test]
fn a_function_of_the_request_tells_how_important_it_is() {
    overloaded(async |policy, _| {
        let layer = ShedLayer::new(&policy)
            .retry_after(Duration::from_secs(7))
            .priority(|request: &u32| match request {
                1 => Priority::Critical,
                _ => Priority::Normal,
            });
        let service = layer.layer(Double::default());
        assert_eq!(service.clone().oneshot(1).await.unwrap(), 2);
        let error = service.clone().oneshot(2).await.unwrap_err();
        let refusal = error.downcast_ref::<Overloaded>().unwrap();
        assert_eq!(refusal.retry_after(), Duration::from_secs(7));
        let critical = ShedLayer::new(&policy).priority(Priority::Critical);
        let service = critical.layer(Double::default());
        assert_eq!(service.oneshot(2).await.unwrap(), 4);
    });
}

#[test]
fn it_is_one_layer_among_others() {
    overloaded(async |policy, hand| {
        let service = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(1)
            .layer(ShedLayer::new(policy.clone()))
            .concurrency_limit(1)
            .service(Double::default());
        let error: BoxError = service.clone().oneshot(1).await.unwrap_err();
        assert!(error.is::<Overloaded>(), "{error}");
        hand.publish(Duration::ZERO).await;
        assert_eq!(service.oneshot(1).await.unwrap(), 2);
    });
}

#[test]
fn its_types_are_shared_between_threads() {
    fn shared<T: Send + Sync + Unpin + Clone + fmt::Debug>(_: &T) {}
    fn sent<T: Send + fmt::Debug>(_: T) {}
    overloaded(async |policy, _| {
        shared(&policy);
        shared(&ShedLayer::http(&policy));
        let mut service = shed(&policy);
        shared(&service);
        sent(service.ready().await.unwrap().call(1));
    });
}
