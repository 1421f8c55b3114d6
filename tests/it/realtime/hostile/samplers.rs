//! Samplers that panic wherever they can, and come back while they do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use loopmon::{Error, Monitor, Sampler};

use super::{ACTS, Act, Hostile, Release, multi_thread, read, within};
use crate::support::millis;

/// Acts at one of its three occasions.
struct HostileSampler(Hostile, Occasion);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Occasion {
    Measured,
    Polled,
    /// The measurement, in the middle.
    Dropped,
}

struct Measurement(Hostile, Occasion);

impl Future for Measurement {
    type Output = Duration;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Duration> {
        if self.1 == Occasion::Polled {
            self.0.act();
        }
        Poll::Pending
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        if self.1 == Occasion::Dropped {
            self.0.act();
        }
    }
}

impl Sampler for HostileSampler {
    fn measure(&mut self, _: Duration) -> impl Future<Output = Duration> + Send {
        if self.1 == Occasion::Measured {
            self.0.act();
        }
        Measurement(self.0.clone(), self.1)
    }
}

#[test]
fn a_sampler_costs_its_monitor_alone() {
    let occasions = [Occasion::Measured, Occasion::Polled, Occasion::Dropped];
    // One that blocks has the worker that it runs on, as the guide says.
    for act in ACTS.into_iter().filter(|act| *act != Act::Blocks) {
        for occasion in occasions {
            within(&format!("{act:?} when {occasion:?}"), move || {
                let hostile = Hostile::new(act);
                let _release = Release(hostile.clone());
                let runtime = multi_thread();
                let monitor = Monitor::builder()
                    .sampler(HostileSampler(hostile.clone(), occasion))
                    .build()
                    .unwrap();
                hostile.knows(&monitor);
                let mut samples = monitor.subscribe();
                monitor.install_on(runtime.handle()).unwrap();
                runtime.block_on(async { tokio::time::sleep(millis(20)).await });
                let panics = matches!(act, Act::Panics | Act::PanicsTwice);
                if panics && occasion != Occasion::Dropped {
                    assert_eq!(runtime.block_on(samples.next()), None);
                    assert!(!monitor.is_running());
                }
                monitor.stop();
                assert_eq!(runtime.block_on(samples.next()), None);
                runtime.block_on(monitor.stopped());

                let other = Monitor::builder()
                    .interval(millis(2))
                    .install_on(runtime.handle())
                    .unwrap();
                assert_eq!(read(&other, 3).join().unwrap().len(), 3);
            });
        }
    }
}

/// Its start fails until it is allowed.
struct Reluctant {
    allowed: Arc<std::sync::atomic::AtomicBool>,
}

impl Sampler for Reluctant {
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        assert_eq!(interval, millis(3));
        assert!(tokio::runtime::Handle::try_current().is_ok());
        if self.allowed.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::sampler_failed("it does not want to"))
    }

    async fn measure(&mut self, interval: Duration) -> Duration {
        tokio::time::sleep(interval).await;
        Duration::ZERO
    }
}

#[test]
fn a_sampler_that_cannot_start_changes_nothing() {
    let allowed = Arc::default();
    let runtime = multi_thread();
    let monitor = Monitor::builder()
        .interval(millis(3))
        .sampler(Reluctant {
            allowed: Arc::clone(&allowed),
        })
        .build()
        .unwrap();
    let mut samples = monitor.subscribe();
    for error in [
        monitor.install_on(runtime.handle()).unwrap_err(),
        runtime.block_on(monitor.run()).unwrap_err(),
    ] {
        assert!(error.is_sampler_failed());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "it does not want to");
    }
    assert!(!monitor.is_running());
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    allowed.store(true, std::sync::atomic::Ordering::Relaxed);
    monitor.install_on(runtime.handle()).unwrap();
    assert!(runtime.block_on(samples.next()).is_some());
}
