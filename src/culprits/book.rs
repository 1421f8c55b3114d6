//! The culprits of all stalls that are settled, in bounded memory. Pure.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::blame::Blamed;
use super::culprit::{Culprit, Tally};
use crate::stall::Stall;

/// With so many culprits, the smallest of them become one: [`FEWEST`] are left.
pub(super) const MOST: usize = 256;

/// Between the two is the room in which a new culprit can show how large it grows.
pub(super) const FEWEST: usize = 128;

#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    /// Each with the hash of its blame. What a snapshot shares is copied when it changes.
    culprits: Vec<(u64, Arc<Culprit>)>,
    other: Tally,
    hasher: RandomState,
}

impl Book {
    /// A book with room for as many culprits as there can be.
    pub(super) fn with_room() -> Book {
        Book {
            culprits: Vec::with_capacity(MOST),
            ..Book::default()
        }
    }

    /// Becomes a copy of `book`. In a book with room, this allocates nothing.
    pub(super) fn copy(&mut self, book: &Book) {
        self.culprits.clear();
        self.culprits.extend_from_slice(&book.culprits);
        self.other = book.other;
        self.hasher.clone_from(&book.hasher);
    }

    /// Adds what a stall has cost. `lasted` is all of it that is its culprit's, counted before or not.
    pub(super) fn add(&mut self, stall: &Stall, cost: Tally, lasted: Duration) {
        if cost.is_nothing() {
            return;
        }
        let blamed = Blamed::of(stall);
        let hash = self.hasher.hash_one(blamed);
        let known = self
            .culprits
            .iter()
            .position(|(other, culprit)| *other == hash && blamed.is(&culprit.blame));
        let index = known.unwrap_or_else(|| {
            self.make_room();
            let new = Culprit::new(blamed.to_blame(), stall);
            self.culprits.push((hash, Arc::new(new)));
            self.culprits.len() - 1
        });
        let (_, culprit) = &mut self.culprits[index];
        Arc::make_mut(culprit).add(stall, cost, lasted);
    }

    fn make_room(&mut self) {
        if self.culprits.len() < MOST {
            return;
        }
        let by_total = |(_, culprit): &(u64, Arc<Culprit>)| std::cmp::Reverse(culprit.total);
        self.culprits.select_nth_unstable_by_key(FEWEST, by_total);
        for (_, small) in self.culprits.drain(FEWEST..) {
            self.other.add(small.tally());
        }
    }

    /// Returns the culprits, the costliest first, and the sum of those that had to give way.
    pub(super) fn close(self) -> (Vec<Arc<Culprit>>, Tally) {
        let mut culprits: Vec<_> = self.culprits.into_iter().map(|(_, one)| one).collect();
        culprits.sort_by_key(|culprit| std::cmp::Reverse(culprit.total));
        for culprit in &mut culprits {
            if culprit.causes.len() > 1 || culprit.places.len() > 1 {
                Arc::make_mut(culprit).sort_parts();
            }
        }
        (culprits, self.other)
    }
}
