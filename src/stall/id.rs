//! The identity of a stall. What else is known of one is in `Stall`.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Identifies a stall. All reports of one stall have the same id, and a process never uses an id twice.
///
/// The logs and spans of the exporters show the id, so that both can be searched for one stall.
/// `Display` prints a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StallId(u64);

impl StallId {
    pub(crate) fn next() -> StallId {
        // Every target has atomics of this width. No process lives through four billion stalls.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        StallId(NEXT.fetch_add(1, Ordering::Relaxed) as u64)
    }

    /// The id that a test gives to all reports of one stall.
    #[cfg(all(test, feature = "_export"))]
    pub(crate) fn of(stall: &impl std::hash::Hash) -> StallId {
        use std::hash::BuildHasher;
        let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
        StallId(hasher.hash_one(stall))
    }
}

impl fmt::Display for StallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_used_twice() {
        let (one, other) = (StallId::next(), StallId::next());
        assert_ne!(one, other);
        assert_ne!(one.to_string(), other.to_string());
    }
}
