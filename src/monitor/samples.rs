//! One reader's stream of samples.

use tokio_stream::StreamExt;

use crate::broadcast::{Item, Subscription, stream_of_subscription};
use crate::sample::Sample;

/// One reader's stream of samples, from [`Monitor::subscribe`](crate::Monitor::subscribe).
///
/// It is a `Stream` as the `futures` and `tokio-stream` crates know it, so the extension traits of
/// both work on it, and loopmon's own [`SampleStreamExt`](crate::SampleStreamExt). It can be read on
/// any thread, on any runtime, or on none.
///
/// # A slow reader
///
/// Each reader has its own position and loses only its own samples: once it is a whole
/// [capacity](crate::Builder::capacity) behind, the oldest go. The next sample it gets says in
/// [`missed`](Sample::missed) how many went just before it. What a reader has received, and the
/// `missed` of those, add up to all that was published since it subscribed. No reader slows the
/// monitor.
///
/// # The end
///
/// When the monitor stops, is dropped before it was installed, or its runtime shuts down, the stream
/// gives what is buffered and then ends, for good. To read on after a restart, subscribe again: a
/// subscription of after the end is one to the next run, and waits for it.
///
/// # Executors
///
/// A reader can be polled by any executor; one whose waker panics, blocks or polls then and there
/// harms nobody else. A reader that is a task of Tokio, or a part of what `block_on` drives on one of
/// its runtimes, is woken by whoever publishes. What other wakers do is not known, so these are woken
/// by a thread of loopmon's own, `loopmon-wakers`, with a second one that takes over when a wake takes
/// longer than 10 ms. They are there as long as there are such readers: on `futures`' executors, or
/// within a `FuturesUnordered`. If the operating system refuses them, the reader is woken as Tokio's
/// are. On a paused clock, time may pass before such a reader is woken.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Samples {
    subscription: Subscription<Sample>,
}

stream_of_subscription!(Samples, Sample);

impl Samples {
    pub(crate) fn new(subscription: Subscription<Sample>) -> Samples {
        Samples { subscription }
    }

    /// The next sample, or `None` when the monitor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call has taken no sample.
    pub async fn next(&mut self) -> Option<Sample> {
        StreamExt::next(self).await
    }

    /// How many samples this reader has lost so far, in all.
    ///
    /// The reader learns of a loss when it reads the next sample.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.subscription.missed()
    }
}

impl Item for Sample {
    fn missed_mut(&mut self) -> &mut u64 {
        &mut self.missed
    }
}
