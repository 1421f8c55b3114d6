//! Who cost how much. The account of a monitor's stalls is kept where they are published, so no reader is needed
//! and none can lag.
//!
//! A report passes through these files:
//!
//! 1. The reporter gives each report to the account before it publishes it (`account.rs`).
//! 2. `pending.rs` keeps the stalls that may still change: those that go on, and the last that have ended. It
//!    decides whose the time is that two of them share.
//! 3. `book.rs` adds a stall that does not change any more to its culprit, in bounded memory. `blame.rs` says
//!    who that is, and `culprit.rs` what is known of it.
//! 4. A snapshot (`snapshot.rs`) has both, and is printed by `table.rs` and `folded.rs`.

mod account;
mod blame;
mod book;
mod culprit;
mod folded;
mod pending;
mod snapshot;
mod table;
#[cfg(all(test, not(loopmon_loom)))]
mod tests;

pub(crate) use account::{Account, Recorder};
pub use blame::{Blame, CallSite};
pub use culprit::{Culprit, Tally};
pub use snapshot::Culprits;
