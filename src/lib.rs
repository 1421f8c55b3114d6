//! Lightweight event loop monitoring for Tokio.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod broadcast;
mod clock;
mod error;
mod sample;
mod stats;
pub mod stream;

pub use error::Error;
pub use sample::Sample;
pub use stats::Percentile;
#[cfg(feature = "histogram")]
pub use stream::LagSummary;
pub use stream::{Alert, Hysteresis, SampleStreamExt};
