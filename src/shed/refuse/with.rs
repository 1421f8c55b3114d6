//! Refuses with whatever a function returns.

use super::Refuse;
use crate::shed::Overloaded;

/// Refuses with what a function returns. From [`ShedLayer::with`](crate::shed::ShedLayer::with).
#[derive(Debug, Clone, Copy)]
pub struct With<F>(pub(crate) F);

impl<F, Response, E> Refuse<Response, E> for With<F>
where
    F: Fn(Overloaded) -> Result<Response, E>,
{
    type Error = E;

    fn refuse(&self, overloaded: Overloaded) -> Result<Response, E> {
        (self.0)(overloaded)
    }

    fn from_inner(error: E) -> E {
        error
    }
}
