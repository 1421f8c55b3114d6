//! A handle that stops its monitor when it is dropped.

use std::ops::Deref;

use super::Monitor;

/// A handle that stops its monitor when it is dropped, from [`Monitor::stop_on_drop`].
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let mut samples = {
///     let monitor = loopmon::create(Duration::from_millis(10), ())?.stop_on_drop();
///     monitor.subscribe()
/// };
/// assert_eq!(samples.next().await, None);
/// # Ok(())
/// # }
/// ```
///
/// # Dropping
///
/// Dropping it calls [`Monitor::stop`], which does not block. Other handles on the same monitor stay
/// valid.
#[derive(Debug)]
#[must_use = "dropping it stops the monitor"]
pub struct StopOnDrop(Monitor);

impl Monitor {
    /// Turns this into a handle that stops the monitor when it is dropped.
    pub fn stop_on_drop(self) -> StopOnDrop {
        StopOnDrop(self)
    }
}

impl Deref for StopOnDrop {
    type Target = Monitor;

    fn deref(&self) -> &Monitor {
        &self.0
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
