//! What is refused first.

/// How important a request is.
// Closed on purpose: first, later, never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Refused whenever anything is refused: prefetching, recommendations, batches.
    Optional,
    /// Refused in the share that the [`Law`](super::Law) says.
    #[default]
    Normal,
    /// Never refused: health checks, and what an operator needs while the service is overloaded.
    Critical,
}
