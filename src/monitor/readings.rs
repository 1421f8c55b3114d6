//! The part of a sample that comes from the runtime's stable metrics. The lag comes from the sampler.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeMetrics};

use crate::clock;
use crate::runtime::{RuntimeTasks, total_busy};
use crate::sample::{Sample, Taken};

#[derive(Debug)]
pub(super) struct Readings {
    metrics: RuntimeMetrics,
    own: Arc<RuntimeTasks>,
    busy: Busy,
}

impl Readings {
    pub(super) fn new(runtime: &Handle, own: Arc<RuntimeTasks>) -> Readings {
        let metrics = runtime.metrics();
        Readings {
            busy: Busy::new(&metrics),
            metrics,
            own,
        }
    }

    /// Returns a sample with the current metrics.
    pub(super) fn sample(&mut self, lag: Duration) -> Sample {
        Sample {
            queue_depth: self.metrics.global_queue_depth(),
            busy: self.busy.share(&self.metrics),
            taken: Taken(Some(clock::tokio_now())),
            ..Sample::new(lag, self.tasks(), clock::utc_now())
        }
    }

    /// Returns the number of live tasks, without loopmon's own.
    fn tasks(&self) -> usize {
        const TRIES: usize = 4;

        let mut own = self.own.count();
        let mut alive = self.metrics.num_alive_tasks();
        for _ in 1..TRIES {
            let own_now = self.own.count();
            if own_now == own {
                break;
            }
            // A task of loopmon's began or ended on another worker meanwhile.
            own = own_now;
            alive = self.metrics.num_alive_tasks();
        }
        alive.saturating_sub(own)
    }
}

/// Measures the share of the workers' time that was busy, from one reading to the next.
#[derive(Debug)]
struct Busy {
    total: Duration,
    read_at: std::time::Instant,
}

impl Busy {
    fn new(metrics: &RuntimeMetrics) -> Busy {
        Busy {
            total: total_busy(metrics),
            read_at: clock::now(),
        }
    }

    fn share(&mut self, metrics: &RuntimeMetrics) -> f64 {
        let last = std::mem::replace(self, Busy::new(metrics));
        let passed = self.read_at.saturating_duration_since(last.read_at);
        share(
            self.total.saturating_sub(last.total),
            passed,
            metrics.num_workers(),
        )
    }
}

/// Returns the share. Tokio publishes busy time late and in lumps, so it may exceed the time that passed.
fn share(busy: Duration, passed: Duration, workers: usize) -> f64 {
    let available = passed.as_secs_f64() * workers as f64;
    if available > 0.0 {
        (busy.as_secs_f64() / available).min(1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_a_share_of_all_workers_time() {
        let second = Duration::from_secs(1);
        for (busy, passed, workers, expected) in [
            (0.0, 1.0, 4, 0.0),
            (1.0, 1.0, 4, 0.25),
            (4.0, 1.0, 4, 1.0),
            (9.0, 1.0, 4, 1.0),
            (1.0, 0.0, 1, 0.0),
        ] {
            let got = share(second.mul_f64(busy), second.mul_f64(passed), workers);
            assert!(
                (got - expected).abs() < 1e-9,
                "{busy} {passed} {workers}: {got}"
            );
        }
    }
}
