//! The default sampler: lag as the lateness of a timer.

use std::time::Duration;

use super::Sampler;
use crate::clock;
use crate::error::{Error, Kind};
use crate::foreign;

/// Tokio's timers fire at whole milliseconds of their driver's own clock.
const TICK: Duration = Duration::from_millis(1);

/// The longest duration that Tokio's timers hold, as `tokio::time::sleep` documents it.
pub(crate) const LONGEST_INTERVAL: Duration = Duration::from_millis(68_719_476_734);

/// Tokio adds this to a deadline and then truncates it to the tick, to round it up.
const ROUNDED_UP_BY: Duration = Duration::from_nanos(999_999);

/// Sleeps for the interval and reports by how much the timer was late. This is the default sampler.
///
/// It uses one task, one timer and no thread. It needs a runtime with timers (`enable_time`).
///
/// # What it can and cannot measure
///
/// A block shows if the timer was due before the block ended. If the block starts right after a sample,
/// the lag is one interval short, because that interval had to pass anyway. If it starts when the timer is
/// due, the lag is the whole block. So lag is never more than one interval short, and a block shorter than
/// the interval may not show at all. The sample comes only after the block. On a runtime with several
/// workers another worker runs the sampler while one is blocked. Stall detection has none of these limits.
///
/// # Tokio's timer wheel
///
/// Tokio rounds a deadline up to the next millisecond tick, and then parks for whole milliseconds. So
/// `tokio::time::sleep(10 ms)` takes a little more than 11 ms on an idle runtime, and a sampler that
/// subtracts 10 ms reports a lag of 1.1 ms although nothing waited. This sampler sets a deadline that is
/// 999,999 ns early, which is what Tokio's rounding adds. On an idle runtime it then wakes after the interval
/// and reports only how late the machine is, 0.1 to 0.3 ms: Linux may delay a wait by a thousandth of its
/// length. On a busy runtime the timer may fire up to a millisecond before the interval has passed; that
/// counts as no lag. The deadline is never late, so lag is not under-reported.
///
/// An interval is rounded up to whole milliseconds.
///
/// While any timer is set, Tokio reads the clock each time it polls for events. On a busy `multi_thread`
/// runtime without other timers, this sampler's timer costs as much throughput as a single
/// `tokio::time::sleep`: one or two percent. The [`WakeSampler`] needs no timer.
///
/// [`WakeSampler`]: crate::WakeSampler
///
/// With the paused clock of `tokio::time::pause` the lag is zero, and a jump by `tokio::time::advance` looks
/// like a stall.
///
/// # A runtime without timers
///
/// Without timers, [`start`](Sampler::start) fails. Tokio reports missing timers only by a panic. Loopmon
/// catches it, but the process's panic hook reports it, and with `panic = "abort"` the process ends.
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
    /// Fails if the runtime has no timers, which Tokio reports only by a panic.
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

/// Rounds `interval` up to whole ticks, and limits it to what timers hold. It is at least one tick, because
/// a paused clock would not move for less.
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

    /// Returns the lag of one measurement, and the virtual time that it took.
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
