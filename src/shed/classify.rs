//! How important a request is, by a rule.

use super::Priority;

/// What tells how important a request is: a [`Priority`] for all requests, or a function of the request.
pub trait Classify<Request> {
    /// Returns the priority of a request.
    fn classify(&self, request: &Request) -> Priority;
}

impl<Request> Classify<Request> for Priority {
    fn classify(&self, _: &Request) -> Priority {
        *self
    }
}

impl<Request, F: Fn(&Request) -> Priority> Classify<Request> for F {
    fn classify(&self, request: &Request) -> Priority {
        self(request)
    }
}
