//! Node's `toobusy` as it would be ported: a task that sleeps, and a share in proportion to the average lag.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Its defaults: look every 500 ms, refuse from 70 ms on, and weigh the newest by a third.
const INTERVAL: Duration = Duration::from_millis(500);
const MOST: f64 = 0.07;
const SMOOTHING: f64 = 1.0 / 3.0;

#[derive(Clone)]
pub(crate) struct TooBusy {
    /// The bits of the average lag in seconds.
    lag: Arc<AtomicU64>,
}

impl TooBusy {
    /// Starts to measure the current runtime.
    pub(crate) fn start() -> TooBusy {
        let lag = Arc::new(AtomicU64::new(0));
        let average = Arc::clone(&lag);
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(INTERVAL).await;
                let lag = began.elapsed().saturating_sub(INTERVAL).as_secs_f64();
                let before = f64::from_bits(average.load(Ordering::Relaxed));
                let after = SMOOTHING * lag + (1.0 - SMOOTHING) * before;
                average.store(after.to_bits(), Ordering::Relaxed);
            }
        });
        TooBusy { lag }
    }

    /// `number` is the request's, and stands for a random number.
    pub(crate) fn refuses(&self, number: u32) -> bool {
        let lag = f64::from_bits(self.lag.load(Ordering::Relaxed));
        let random = f64::from(number.wrapping_mul(2_654_435_769)) / f64::from(u32::MAX);
        random < (lag - MOST) / MOST
    }
}
