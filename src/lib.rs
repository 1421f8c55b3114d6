//! Lightweight event loop monitoring for Tokio.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod broadcast;
mod callback;
mod clock;
mod error;
mod monitor;
mod sample;
mod sampler;

use std::time::Duration;

pub use callback::{Callback, Callbacks, IntoCallbacks};
pub use error::Error;
pub use monitor::{Builder, Monitor, Samples, StopOnDrop};
pub use sample::Sample;
pub use sampler::{Sampler, SleepSampler, WakeSampler};

/// Builds a monitor, installs it on the current runtime and returns at once: all in one call.
///
/// Each sample is handed to each of the callbacks; `()` is none. For more settings there is
/// [`Monitor::builder`].
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let monitor = loopmon::create(Duration::from_millis(100), async |sample| println!("{sample}"))?;
/// tokio::time::sleep(Duration::from_millis(250)).await;
/// assert_eq!(monitor.lag(), Duration::ZERO);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If no runtime is current, if it has no timers, or if the interval is zero or longer than timers
/// hold.
pub fn create(interval: Duration, callbacks: impl IntoCallbacks) -> Result<Monitor, Error> {
    Monitor::builder()
        .interval(interval)
        .callbacks(callbacks)
        .install()
}
