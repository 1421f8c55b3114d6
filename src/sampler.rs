//! How a sample's lag is measured.

mod sleep;
mod wake;

use std::future::Future;
use std::time::Duration;

use crate::error::Error;
pub(crate) use sleep::LONGEST_INTERVAL;
pub use sleep::SleepSampler;
pub use wake::WakeSampler;

/// A way of measuring lag: the open door for other kinds of monitor.
///
/// | sampler | measures | resolution | cost of a sample |
/// |---|---|---|---|
/// | [`SleepSampler`], the default | how late a timer fires | about a millisecond | one wake-up of the runtime |
/// | [`WakeSampler`] | how long a woken task waits for its turn | microseconds | one wake-up of the runtime, one of a thread |
///
/// A sampler of your own needs one method, and a second one if it may be unable to start. This one asks how long a task that yields waits for its
/// next turn, which is the length of the queue it joins:
///
/// ```
/// use std::time::{Duration, Instant};
/// use loopmon::{Monitor, Sampler};
///
/// struct YieldSampler;
///
/// impl Sampler for YieldSampler {
///     async fn measure(&mut self, interval: Duration) -> Duration {
///         tokio::time::sleep(interval).await;
///         let yielded = Instant::now();
///         tokio::task::yield_now().await;
///         yielded.elapsed()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let monitor = Monitor::builder()
///     .interval(Duration::from_millis(10))
///     .sampler(YieldSampler)
///     .install()?;
/// let sample = monitor.subscribe().next().await.unwrap();
/// assert!(sample.lag < Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
///
/// A sampler is used by one run of its monitor at a time, and handed on when the monitor is stopped
/// and installed again. If `measure` panics, the monitor ends and its streams with it.
pub trait Sampler: Send + 'static {
    /// Gets what is needed to measure at this interval, before a run of the monitor begins. Nothing
    /// by default.
    ///
    /// It is called inside the runtime that is to be measured, so `Handle::current()` is its handle.
    /// It may be called again without a measurement in between: when the run does not come about.
    /// While an earlier run of the same monitor has not quite ended, it is called on the runtime, a
    /// moment after the monitor has been installed; if it fails there, the monitor ends.
    ///
    /// # Errors
    ///
    /// If the sampler cannot measure: see [`Error::sampler_failed`]. The call that was to attach the
    /// monitor then fails with this, and has changed nothing.
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        let _ = interval;
        Ok(())
    }

    /// Waits for about `interval`, then tells how late something that was ready ran.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped in the middle when the monitor stops. A later call must find the
    /// sampler fit for use.
    fn measure(&mut self, interval: Duration) -> impl Future<Output = Duration> + Send;
}
