//! Load shedding: refuses requests before the event loop drowns in them.
//!
//! A service that is given more than it can do gets slower for everybody, until every answer comes too late. The
//! lag of its event loop tells early: it is how long each request waits before any code runs for it. A [`Policy`]
//! refuses, by that lag, just as many requests as are too many, so that the others are served in time.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use loopmon::{Monitor, shed::ShedLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), loopmon::Error> {
//! let monitor = Monitor::builder()
//!     .interval(Duration::from_millis(10))
//!     .install()?;
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(ShedLayer::http(&monitor));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! [`docs::shedding`](crate::docs::shedding) says which law is for what, what each costs, and what lag cannot show.

mod classify;
mod future;
mod law;
mod layer;
mod overloaded;
mod policy;
mod priority;
mod refuse;
mod service;
mod verdict;

pub use crate::admissions::Reason;
pub use classify::Classify;
pub use future::ResponseFuture;
pub use law::Law;
pub use layer::ShedLayer;
pub use overloaded::Overloaded;
pub use policy::Policy;
pub use priority::Priority;
pub use refuse::{Refuse, With, WithError, WithGrpc, WithHttp};
pub use service::Shed;
