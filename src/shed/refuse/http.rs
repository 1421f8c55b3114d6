//! Refuses with an HTTP response.

use ::http::header::RETRY_AFTER;
use ::http::{HeaderValue, Response, StatusCode};

use super::Refuse;
use crate::shed::Overloaded;

/// Refuses with `503 Service Unavailable`, a `Retry-After` and an empty body. From
/// [`ShedLayer::http`](crate::shed::ShedLayer::http).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithHttp;

impl<Body: Default, E> Refuse<Response<Body>, E> for WithHttp {
    type Error = E;

    fn refuse(&self, overloaded: Overloaded) -> Result<Response<Body>, E> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
            .headers_mut()
            .insert(RETRY_AFTER, seconds(overloaded));
        Ok(response)
    }

    fn from_inner(error: E) -> E {
        error
    }
}

/// Returns whole seconds, at least one: zero would have clients return at once.
fn seconds(overloaded: Overloaded) -> HeaderValue {
    let wait = overloaded.retry_after();
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match seconds {
        // By far the most frequent, and it is made without formatting.
        0 | 1 => HeaderValue::from_static("1"),
        seconds => seconds.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::shed::Reason;

    #[test]
    fn tells_when_to_come_back_in_whole_seconds() {
        for (wait, header) in [
            (Duration::ZERO, "1"),
            (Duration::from_millis(20), "1"),
            (Duration::from_millis(1_001), "2"),
            (Duration::from_secs(30), "30"),
        ] {
            let overloaded = Overloaded {
                retry_after: wait,
                ..Overloaded::new(Reason::Lag)
            };
            let answer: Result<Response<String>, Infallible> = WithHttp.refuse(overloaded);
            let Ok(response) = answer;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], header);
            assert_eq!(response.body(), "");
        }
    }
}
