//! The loop that measures and publishes. How lag is measured is in `sampler`.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::coop::consume_budget;

use super::latest;
use super::readings::Readings;
use crate::broadcast::{Closed, Publisher};
use crate::error::Error;
use crate::foreign::Foreign;
use crate::sample::Sample;
use crate::sampler::Sampler;

/// The parts of the loop that one run uses after another.
pub(super) struct Engine {
    sampler: Box<dyn Drive>,
    latest: latest::Writer,
}

impl Engine {
    pub(super) fn new(sampler: Box<dyn Drive>, latest: latest::Writer) -> Engine {
        Engine { sampler, latest }
    }

    /// Starts the sampler. Must be called within the context of the measured runtime.
    pub(super) fn start(&mut self, interval: Duration) -> Result<(), Error> {
        self.sampler.start(interval)
    }

    /// Publishes samples until the channel is closed.
    pub(super) async fn drive(&mut self, mut output: Output) {
        self.sampler.drive(&mut self.latest, &mut output).await;
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Makes and publishes the samples of one run.
pub(super) struct Output {
    pub(super) interval: Duration,
    pub(super) readings: Readings,
    pub(super) publisher: Publisher<Sample>,
}

impl Output {
    fn publish(&mut self, lag: Duration, latest: &mut latest::Writer) -> Result<(), Closed> {
        let sample = self.readings.sample(lag);
        // First, so that a reader that has received a sample also gets it from `latest`.
        latest.write(&sample);
        self.publisher.publish(sample)
    }
}

/// A sampler with its type erased. The loop is inside, so that its future is boxed once per run and not once
/// per sample.
pub(super) trait Drive: Send {
    fn start(&mut self, interval: Duration) -> Result<(), Error>;

    fn drive<'a>(
        &'a mut self,
        latest: &'a mut latest::Writer,
        output: &'a mut Output,
    ) -> BoxFuture<'a, ()>;
}

impl<S: Sampler> Drive for S {
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        Sampler::start(self, interval)
    }

    fn drive<'a>(
        &'a mut self,
        latest: &'a mut latest::Writer,
        output: &'a mut Output,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let lag = match Foreign::new(self.measure(output.interval)).await {
                    Ok(lag) => lag,
                    Err(panic) => panic.resume(),
                };
                if output.publish(lag, latest).is_err() {
                    return;
                }
                // A sampler that never waits must not block the worker.
                consume_budget().await;
            }
        })
    }
}
