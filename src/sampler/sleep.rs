//! Lag as the lateness of a timer.

use std::time::Duration;

use super::Sampler;
use crate::clock;
use crate::error::{Error, Kind};
use crate::foreign;

/// Tokio's timers fire at whole milliseconds of their driver's own clock.
const TICK: Duration = Duration::from_millis(1);

/// The longest duration that Tokio's timers hold, as `tokio::time::sleep` documents it.
pub(crate) const LONGEST_INTERVAL: Duration = Duration::from_millis(68_719_476_734);

/// Tokio adds this to a deadline, then cuts it to the tick: it rounds up.
const ROUNDED_UP_BY: Duration = Duration::from_nanos(999_999);

/// Sleeps for the interval and reports what passed beyond it: the default sampler.
///
/// One task, one timer, no thread. It needs a runtime with timers (`enable_time`).
///
/// # What it can and cannot see
///
/// A block is seen when the timer was due before the block ended. One that starts right after a
/// sample is taken is under-reported by the interval, which had to pass anyway; one that starts
/// when the timer is due is reported in full. So the report is never more than one interval short,
/// and a block shorter than the interval may go unseen. It is told only when it is over. On a
/// runtime with several workers another worker answers for a blocked one. Stall detection has none
/// of these limits.
///
/// # Tokio's timer wheel
///
/// Tokio rounds a deadline up to its next millisecond tick, and parks for whole milliseconds from
/// the moment it parks. So `tokio::time::sleep(10 ms)` on an idle runtime takes 11 ms and a little,
/// and a sampler that takes the difference reports a lag of 1.1 ms where nothing waited. This one
/// asks for a deadline that is 999,999 ns early, which is what Tokio's rounding adds: on an idle
/// runtime it wakes after the interval itself and reports the machine's own lateness alone, 0.1 to
/// 0.3 ms: Linux lets a wait be late by a thousandth of its length. On a busy runtime the timer may
/// fire up to a millisecond before the interval has passed; that counts as no lag. Because the
/// deadline is never late, lag is not under-reported.
///
/// An interval is rounded up to whole milliseconds.
///
/// While any timer is set, Tokio reads the clock each time it looks for events. On a busy
/// `multi_thread` runtime that has no other timer the sampler's own costs one or two percent of
/// throughput, as a single `tokio::time::sleep` does; the [`WakeSampler`] needs none.
///
/// [`WakeSampler`]: crate::WakeSampler
///
/// On the paused clock of `tokio::time::pause` the lag is zero, and a jump by
/// `tokio::time::advance` looks like a stall.
///
/// # A runtime without timers
///
/// [`start`](Sampler::start) then fails. Tokio tells by a panic alone: it is caught, but the process's
/// panic hook reports it, and with `panic = "abort"` the process ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SleepSampler;

impl SleepSampler {
    /// The same as the value `SleepSampler` itself.
    #[must_use]
    pub const fn new() -> SleepSampler {
        SleepSampler
    }
}

impl Sampler for SleepSampler {
    /// Fails if the runtime has no timers. Tokio tells so by a panic alone.
    fn start(&mut self, _: Duration) -> Result<(), Error> {
        let timer = foreign::call(|| drop(tokio::time::sleep(Duration::ZERO)));
        timer.map_err(|_| Kind::TimersDisabled.into())
    }

    async fn measure(&mut self, interval: Duration) -> Duration {
        let interval = whole_ticks(interval);
        let began = clock::tokio_now();
        tokio::time::sleep_until(began + interval - ROUNDED_UP_BY).await;
        clock::tokio_now()
            .saturating_duration_since(began)
            .saturating_sub(interval)
    }
}

/// `interval` rounded up to whole ticks, at least one, as below that a paused clock would never move,
/// and at most what timers hold.
fn whole_ticks(interval: Duration) -> Duration {
    let ticks = interval.as_nanos().div_ceil(TICK.as_nanos()).max(1);
    u64::try_from(ticks)
        .map_or(LONGEST_INTERVAL, Duration::from_millis)
        .min(LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_round_up_to_the_tick() {
        for (given, used) in [(0, 1), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            let given = Duration::from_nanos(given);
            assert_eq!(whole_ticks(given), Duration::from_millis(used), "{given:?}");
        }
        for given in [
            LONGEST_INTERVAL,
            Duration::from_secs(u64::MAX),
            Duration::MAX,
        ] {
            assert_eq!(whole_ticks(given), LONGEST_INTERVAL);
        }
    }

    /// Lag and virtual time passed over one measurement.
    async fn measure_paused(interval: Duration) -> (Duration, Duration) {
        let began = clock::tokio_now();
        let lag = SleepSampler.measure(interval).await;
        (lag, clock::tokio_now() - began)
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_shows_no_lag_and_keeps_the_interval() {
        for millis in [1, 10, 99, 1_000, 86_400_000] {
            let interval = Duration::from_millis(millis);
            assert_eq!(measure_paused(interval).await, (Duration::ZERO, interval));
        }
        let (lag, passed) = measure_paused(Duration::from_micros(1_500)).await;
        assert_eq!((lag, passed), (Duration::ZERO, Duration::from_millis(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn off_the_tick_a_paused_clock_shows_no_lag_either() {
        tokio::time::advance(Duration::from_micros(300)).await;
        let interval = Duration::from_millis(10);
        for _ in 0..50 {
            assert_eq!(measure_paused(interval).await, (Duration::ZERO, interval));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_a_paused_clock_is_lag() {
        let measured =
            tokio::spawn(async { SleepSampler.measure(Duration::from_millis(10)).await });
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(110)).await;
        assert_eq!(measured.await.unwrap(), Duration::from_millis(100));
    }
}
