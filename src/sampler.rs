//! How a sample's lag is measured. What else a sample holds is read in `monitor/readings.rs`.

mod blocking_pool;
mod sleep;
mod wake;

use std::future::Future;
use std::time::Duration;

use crate::error::Error;
pub use blocking_pool::BlockingPoolSampler;
pub(crate) use sleep::LONGEST_INTERVAL;
pub use sleep::SleepSampler;
pub use wake::WakeSampler;

/// A way to measure lag. Implement it for another kind of monitor.
///
/// | sampler | measures | resolution | cost of a sample |
/// |---|---|---|---|
/// | [`SleepSampler`], the default | how late a timer fires | about a millisecond | one wake-up of the runtime |
/// | [`WakeSampler`] | how long a woken task waits for its turn | microseconds | one wake-up of the runtime, one of a thread |
/// | [`BlockingPoolSampler`](struct@BlockingPoolSampler) | how long a job waits for a thread of the blocking pool | microseconds | two wake-ups of the runtime, one of a thread |
///
/// Your own sampler needs one method, and a second one if its start can fail. This one measures how long a
/// task that yields waits for its next turn, which depends on the length of the queue:
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
/// One run of a monitor uses the sampler at a time. When the monitor is stopped and installed again, the
/// next run uses the same sampler. If `measure` panics, the monitor and its streams end.
pub trait Sampler: Send + 'static {
    /// Prepares to measure at this interval, before a run of the monitor begins. Does nothing by default.
    ///
    /// It is called within the context of the measured runtime, so `Handle::current()` returns its handle.
    /// It may be called again without a measurement in between, if the run fails to start. If an earlier run
    /// of the same monitor has not quite ended, it is called in a task, a moment after the monitor has been
    /// installed; if it fails there, the monitor ends.
    ///
    /// # Errors
    ///
    /// If the sampler cannot measure: see [`Error::sampler_failed`]. The call that attaches the monitor then
    /// returns this error and changes nothing.
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        let _ = interval;
        Ok(())
    }

    /// Waits for about `interval`, then returns how long what was ready to run had to wait, such as a task.
    ///
    /// # Cancel safety
    ///
    /// The monitor drops the future at any point when it stops. The sampler must stay usable for a later
    /// call.
    fn measure(&mut self, interval: Duration) -> impl Future<Output = Duration> + Send;
}
