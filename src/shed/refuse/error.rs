//! Refuses with an error, as tower's own services do.

use std::error::Error;

use super::Refuse;
use crate::shed::Overloaded;

/// Refuses with the error [`Overloaded`], boxed as the errors of tower's own services are. From
/// [`ShedLayer::new`](crate::shed::ShedLayer::new).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithError;

impl<Response, E: Into<Box<dyn Error + Send + Sync>>> Refuse<Response, E> for WithError {
    type Error = Box<dyn Error + Send + Sync>;

    fn refuse(&self, overloaded: Overloaded) -> Result<Response, Self::Error> {
        Err(overloaded.into())
    }

    fn from_inner(error: E) -> Self::Error {
        error.into()
    }
}
