//! The account at one moment, as users read it. How it is printed: `table.rs`, `folded.rs`.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::culprit::{Culprit, Tally};

/// Who cost how much: the stalls of a monitor by their culprits, from
/// [`Monitor::culprits`](crate::Monitor::culprits).
///
/// It has 255 culprits at the most. With more, the smallest are together [`other`](Self::other), so that nothing is
/// lost from the sums.
///
/// `Display` prints a table for a terminal. Its lines have 80 columns at the most, or as many as the format asks
/// for; a table needs 44:
///
/// ```
/// # let monitor = loopmon::Monitor::builder().build()?;
/// let culprits = monitor.culprits();
/// //     total  stalls   longest  culprit
/// //   1.204 s       2   0.602 s  shop::orders::save at src/orders.rs:41
/// //                              blocked in fsync, worker 1, last at 15:39:40
/// //   1.204 s       2            all
/// println!("{culprits:120}");
/// # assert!(culprits.is_empty());
/// # Ok::<(), loopmon::Error>(())
/// ```
///
/// With the `serde` feature, it implements `Serialize` and `Deserialize`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Culprits {
    since: DateTime<Utc>,
    culprits: Vec<Arc<Culprit>>,
    other: Tally,
}

impl Culprits {
    pub(super) fn new(since: DateTime<Utc>, culprits: Vec<Arc<Culprit>>, other: Tally) -> Culprits {
        Culprits {
            since,
            culprits,
            other,
        }
    }

    /// Since when the stalls are counted: when the monitor was built, or its account was reset.
    #[must_use]
    pub fn since(&self) -> DateTime<Utc> {
        self.since
    }

    /// The culprits, the costliest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Culprit> {
        self.culprits.iter().map(|culprit| &**culprit)
    }

    /// What the culprits have cost that are not listed, as there were too many.
    #[must_use]
    pub fn other(&self) -> Tally {
        self.other
    }

    /// What all stalls have cost: the sum over the culprits and [`other`](Self::other).
    #[must_use]
    pub fn all(&self) -> Tally {
        let mut all = self.other;
        self.iter().for_each(|culprit| all.add(culprit.tally()));
        all
    }

    /// How many culprits are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.culprits.len()
    }

    /// Whether there was no stall.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.culprits.is_empty()
    }
}
