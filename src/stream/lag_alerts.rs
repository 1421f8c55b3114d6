//! The adapter that reports when the lag becomes too long, and when it is healthy again.

use std::time::Duration;

use crate::error::{Error, Kind};
use crate::sample::Sample;

use super::adapter::{Rule, SizeHint, adapter};
use super::filter::{Filter, Gate};

adapter! {
    /// The stream of [`lag_alerts`](super::SampleStreamExt::lag_alerts).
    LagAlerts(thresholds: Hysteresis): Alerts => Alert {
        Alerts {
            changes: Filter::new(Changes { thresholds, raised: false }),
        }
    }
}

/// A change of the alert of [`lag_alerts`](super::SampleStreamExt::lag_alerts).
// Closed on purpose: an alert is raised or it is not, so a `match` may be exhaustive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Alert {
    /// The lag reached [`Hysteresis::raise_at`], with this sample.
    Raised(Sample),
    /// The lag fell to [`Hysteresis::clear_at`] or less, with this sample.
    Cleared(Sample),
}

/// Two thresholds that keep an alert from flapping: one raises it, the other clears it.
///
/// A lag between the two changes nothing. They may be equal: a lag that raises the alert never clears it.
///
/// ```
/// use std::time::Duration;
/// use loopmon::Hysteresis;
///
/// let (high, low) = (Duration::from_millis(100), Duration::from_millis(20));
/// let thresholds = Hysteresis::new(high, low)?;
/// assert_eq!(thresholds.raise_at(), high);
///
/// assert!(Hysteresis::new(low, high).unwrap_err().is_inverted_thresholds());
/// # Ok::<(), loopmon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hysteresis {
    raise_at: Duration,
    clear_at: Duration,
}

impl Hysteresis {
    /// Thresholds at which a lag of `raise_at` or more raises the alert, and a lag of `clear_at` or less
    /// clears it.
    ///
    /// # Errors
    ///
    /// If `raise_at` is less than `clear_at`.
    pub fn new(raise_at: Duration, clear_at: Duration) -> Result<Hysteresis, Error> {
        if raise_at < clear_at {
            return Err(Kind::InvertedThresholds.into());
        }
        Ok(Hysteresis { raise_at, clear_at })
    }

    /// The shortest lag that raises the alert.
    #[must_use]
    pub fn raise_at(&self) -> Duration {
        self.raise_at
    }

    /// The longest lag that clears the alert. If it equals `raise_at`, only shorter lags do.
    #[must_use]
    pub fn clear_at(&self) -> Duration {
        self.clear_at
    }
}

#[derive(Debug)]
struct Alerts {
    changes: Filter<Changes>,
}

impl Rule for Alerts {
    type Item = Alert;

    fn push(&mut self, sample: Sample) -> Option<Alert> {
        let sample = self.changes.push(sample)?;
        Some(if self.changes.gate.raised {
            Alert::Raised(sample)
        } else {
            Alert::Cleared(sample)
        })
    }

    fn size_hint(&self, samples: SizeHint) -> SizeHint {
        self.changes.size_hint(samples)
    }
}

/// Lets through the samples that raise or clear the alert.
#[derive(Debug)]
struct Changes {
    thresholds: Hysteresis,
    raised: bool,
}

impl Gate for Changes {
    fn passes(&mut self, sample: &Sample) -> bool {
        let raise = sample.lag >= self.thresholds.raise_at;
        let clear = !raise && sample.lag <= self.thresholds.clear_at;
        let changes = if self.raised { clear } else { raise };
        self.raised ^= changes;
        changes
    }
}
