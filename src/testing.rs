//! Fails a test whose code blocks the event loop, with function, file and line. The feature `testing` has it.
//!
//! ```
//! use std::time::Duration;
//! use loopmon::testing::DenyStalls;
//!
//! # async fn checkout() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // #[tokio::test]
//! // async fn checks_out() {
//! DenyStalls::over(Duration::from_millis(50)).run(checkout()).await;
//! // }
//! # }
//! ```
//!
//! [The guide](crate::docs::testing) says what is watched, and what counts.

mod allow;
mod bursts;
mod deny;
mod findings;
mod long_polls;
mod regions;
mod report;
mod session;
mod settings;
mod verdict;

pub use deny::{DenyGuard, DenyStalls};

use regions::Inside;

/// Calls `block`, which may block: a [`DenyStalls`] does not count the time.
///
/// It is for code of yours that blocks on purpose, in tests and in what they test. Where nothing is watched, it
/// costs a load, and a call inside another does nothing.
///
/// ```
/// use std::time::Duration;
/// use loopmon::testing::{DenyStalls, allow_blocking};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let deny = DenyStalls::over(Duration::from_millis(50));
/// let read = deny.run(async {
///     allow_blocking(|| std::thread::sleep(Duration::from_millis(100)));
///     7
/// });
/// assert_eq!(read.await, 7);
/// # }
/// ```
pub fn allow_blocking<R>(block: impl FnOnce() -> R) -> R {
    let _inside = Inside::enter();
    block()
}
