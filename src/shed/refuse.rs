//! What the caller of a service gets when a request is refused.

mod error;
mod grpc;
mod http;
mod with;

pub use error::WithError;
pub use grpc::WithGrpc;
pub use http::WithHttp;
pub use with::With;

use super::Overloaded;

/// What a service answers instead of calling the service within.
///
/// `Response` and `E` are the response and the error of the service within. The ways that there are:
/// [`WithError`], [`WithHttp`], [`WithGrpc`] and [`With`] a function of your own.
pub trait Refuse<Response, E> {
    /// The error of the shedding service.
    type Error;

    /// Returns the answer to a request that is refused.
    ///
    /// # Errors
    ///
    /// If the answer is an error, such as [`Overloaded`] itself.
    fn refuse(&self, overloaded: Overloaded) -> Result<Response, Self::Error>;

    /// Passes on an error of the service within.
    fn from_inner(error: E) -> Self::Error;
}
