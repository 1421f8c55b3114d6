//! One reader's stream of samples. The channel behind it is in `broadcast`.

use tokio_stream::StreamExt;

use crate::broadcast::{Item, Subscription, stream_of_subscription};
use crate::sample::Sample;

/// One reader's stream of samples, from [`Monitor::subscribe`](crate::Monitor::subscribe).
///
/// It is a `Stream`, so the extension traits of `futures`, of `tokio-stream`, and loopmon's own
/// [`SampleStreamExt`](crate::SampleStreamExt) work on it. It can be read on any thread, on any runtime, or on
/// none.
///
/// # A slow reader
///
/// Each reader has its own position and loses only its own samples. Once it is a whole
/// [capacity](crate::Builder::capacity) behind, it loses its oldest. The next sample that it receives says in
/// [`missed`](Sample::missed) how many it lost just before. The samples that a reader received and their
/// `missed` add up to all samples that were published since it subscribed. No reader slows the monitor.
///
/// # The end
///
/// When the monitor stops, is dropped before it was installed, or its runtime shuts down, the stream returns
/// what is buffered and then ends. To read after a restart, subscribe again: a new stream belongs to the next
/// run and waits for it.
///
/// # Executors
///
/// Any executor can poll a reader. A waker that panics, blocks or polls on the spot harms no other reader.
///
/// The publisher wakes readers that are Tokio tasks, or that `block_on` of a Tokio runtime drives. Other wakers
/// may do anything, so a thread named `loopmon-wakers` calls them; a second one takes over when a wake takes
/// longer than 10 ms. The threads exist as long as there are such readers, for example on the executors of
/// `futures` or within a `FuturesUnordered`. If the operating system refuses the threads, the publisher calls
/// these wakers, too. With a paused clock, virtual time may pass before such a reader is woken.
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

    /// Returns the next sample, or `None` when the monitor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call loses no sample.
    pub async fn next(&mut self) -> Option<Sample> {
        StreamExt::next(self).await
    }

    /// Returns how many samples this reader has lost in all.
    ///
    /// A loss is counted when the reader reads the next sample.
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
