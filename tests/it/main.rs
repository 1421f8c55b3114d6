//! Loopmon from the outside, one module for each area.
//!
//! Time in these tests is virtual. What needs real time is in `realtime`, which the test runner
//! gives one thread.
#![allow(
    clippy::disallowed_methods,
    reason = "tests hold loopmon against the clocks"
)]

mod auto_traits;
mod by_hand;
mod callbacks;
#[cfg(feature = "dashboard")]
mod dashboard;
mod errors;
mod export;
mod flavours;
mod leaks;
mod life;
mod model;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
mod realtime;
mod sampler;
mod seed;
#[cfg(feature = "tower")]
mod shed;
mod stream;
mod streams;
mod support;
