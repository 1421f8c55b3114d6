//! Refuses with a gRPC response.

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderName, HeaderValue, Response};

use super::Refuse;
use crate::shed::Overloaded;

/// Refuses with the gRPC status `UNAVAILABLE` and the time to wait before a retry. From
/// [`ShedLayer::grpc`](crate::shed::ShedLayer::grpc).
///
/// The time is in `grpc-retry-pushback-ms`, which clients with a retry policy obey
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithGrpc;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// `UNAVAILABLE`: the client may try again.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

impl<Body: Default, E> Refuse<Response<Body>, E> for WithGrpc {
    type Error = E;

    fn refuse(&self, overloaded: Overloaded) -> Result<Response<Body>, E> {
        // A response of trailers only, which HTTP sends as headers. Its HTTP status is always 200.
        let mut response = Response::new(Body::default());
        let headers = response.headers_mut();
        let millis = overloaded.retry_after().as_millis();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(STATUS, UNAVAILABLE);
        headers.insert(MESSAGE, HeaderValue::from_static("overloaded"));
        headers.insert(PUSHBACK, i32::try_from(millis).unwrap_or(i32::MAX).into());
        Ok(response)
    }

    fn from_inner(error: E) -> E {
        error
    }
}
