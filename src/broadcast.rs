//! A broadcast channel that never waits for a reader and counts what each of them loses.
//!
//! The channel is `async-broadcast` in overflow mode. This file keeps it open while it has no readers, and
//! turns its overflow errors into a count on the reader's next item. It knows no samples and no stalls.
//!
//! `async-broadcast` calls, clones and drops wakers while it is locked. So readers wait in a list of our own
//! (`waiting.rs`), and a reader's waker can neither block nor poison the channel.

mod departed;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_broadcast::{InactiveReceiver, Receiver, Sender, TryRecvError};
use futures::FutureExt;
use futures::stream::{FusedStream, Stream};

use crate::waiting::{WaitList, Waiter};
use departed::Departed;

/// An item that says how many items its reader has lost just before it.
pub(crate) trait Item: Clone + Send + 'static {
    fn missed_mut(&mut self) -> &mut u64;
}

/// The sending end. When the last clone of it is dropped, the channel is closed.
#[derive(Debug, Clone)]
pub(crate) struct Publisher<T> {
    channel: Arc<Channel<T>>,
}

#[derive(Debug)]
struct Channel<T> {
    sender: Sender<T>,
    // Without a receiver, `async-broadcast` closes the channel for good.
    _keeps_open: InactiveReceiver<T>,
    waiting: WaitList,
    departed: Departed<T>,
}

/// The channel was closed.
#[derive(Debug)]
pub(crate) struct Closed;

impl<T: Item> Publisher<T> {
    /// `capacity` is how many items each reader may lag behind; at least one.
    pub(crate) fn new(capacity: usize) -> Publisher<T> {
        let (mut sender, mut receiver) = async_broadcast::broadcast(capacity);
        sender.set_overflow(true);
        // `async-broadcast` allocates its own list of waiting readers at the first use. Not later, as the
        // program may then be stuck in the allocator.
        receiver.recv_direct().now_or_never();
        Publisher {
            channel: Arc::new(Channel {
                sender,
                _keeps_open: receiver.deactivate(),
                waiting: WaitList::default(),
                departed: Departed::default(),
            }),
        }
    }

    /// Sends `item` to every current reader. A reader that is a whole capacity behind loses its oldest item.
    /// It allocates nothing. It runs no code of a reader, unless the system refuses the thread that does (`waiting.rs`).
    pub(crate) fn publish(&self, item: T) -> Result<(), Closed> {
        match self.channel.sender.try_broadcast(item) {
            Ok(_pushed_out) => {
                self.channel.waiting.wake_all();
                self.channel.departed.read_some();
            }
            Err(error) if error.is_closed() => return Err(Closed),
            // `Inactive`: there are no readers. `Full`: impossible in overflow mode.
            Err(_) => {}
        }
        Ok(())
    }

    /// Returns a reader of all items from now on.
    pub(crate) fn subscribe(&self) -> Subscription<T> {
        Subscription {
            waiter: self.channel.waiting.waiter(),
            departed: self.channel.departed.clone(),
            receiver: Some(self.channel.sender.new_receiver()),
            unreported: 0,
            missed: 0,
            ended: false,
        }
    }

    /// Ends every subscription after what is buffered for it.
    pub(crate) fn close(&self) {
        self.channel.close();
    }
}

impl<T> Channel<T> {
    fn close(&self) {
        self.sender.close();
        self.waiting.wake_all();
    }
}

impl<T> Drop for Channel<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// One reader's stream.
#[derive(Debug)]
pub(crate) struct Subscription<T: Item> {
    waiter: Waiter,
    departed: Departed<T>,
    /// Holds the receiver until this is dropped.
    receiver: Option<Receiver<T>>,
    /// Counts the items lost since the last one that was returned.
    unreported: u64,
    /// Counts the lost items in all.
    missed: u64,
    ended: bool,
}

impl<T: Item> Subscription<T> {
    /// Returns how many items this reader has lost in all.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns the next item, or `None` at the end. Where there is no news, nobody is woken by the next.
    pub(crate) fn try_next(&mut self) -> Poll<Option<T>> {
        while let Some(receiver) = self.receiver.as_mut().filter(|_| !self.ended) {
            match receiver.try_recv() {
                Ok(mut item) => {
                    *item.missed_mut() += std::mem::take(&mut self.unreported);
                    return Poll::Ready(Some(item));
                }
                Err(TryRecvError::Overflowed(lost)) => {
                    self.unreported += lost;
                    self.missed += lost;
                }
                Err(TryRecvError::Closed) => self.ended = true,
                Err(TryRecvError::Empty) => return Poll::Pending,
            }
        }
        Poll::Ready(None)
    }
}

impl<T: Item> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if let news @ Poll::Ready(_) = this.try_next() {
            return news;
        }
        this.waiter.register(cx.waker());
        this.try_next()
    }
}

impl<T: Item> Drop for Subscription<T> {
    fn drop(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            self.departed.add(receiver);
        }
    }
}

impl<T: Item> FusedStream for Subscription<T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// Implements the stream traits for a type with a field `subscription`.
macro_rules! stream_of_subscription {
    ($reader:ty, $item:ty) => {
        impl tokio_stream::Stream for $reader {
            type Item = $item;

            fn poll_next(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<$item>> {
                std::pin::Pin::new(&mut self.subscription).poll_next(cx)
            }
        }

        impl futures::stream::FusedStream for $reader {
            fn is_terminated(&self) -> bool {
                self.subscription.is_terminated()
            }
        }
    };
}

pub(crate) use stream_of_subscription;

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use allocation_counter::measure;
    use tokio_test::task;

    use super::*;
    use crate::stall::{Phase, Stall};

    fn stall() -> Stall {
        Stall::of(0, Phase::Started)
    }

    #[test]
    fn publishing_and_reading_allocate_nothing_whoever_waits() {
        let publisher = Publisher::new(4);
        let subscribe = |_| task::spawn(publisher.subscribe());
        // The waker of `task::spawn` is foreign, that of `now_or_never` is known.
        let mut foreign: Vec<_> = (0..50).map(subscribe).collect();
        let mut known: Vec<_> = (0..50).map(subscribe).collect();
        for _ in 0..3 {
            for reader in &mut foreign {
                while reader.poll_next().is_ready() {}
            }
            let read = measure(|| {
                for reader in &mut known {
                    while futures::StreamExt::next(&mut **reader)
                        .now_or_never()
                        .is_some()
                    {}
                }
            });
            let published = measure(|| publisher.publish(stall()).unwrap());
            assert_eq!((read.count_total, published.count_total), (0, 0));
        }
    }

    #[test]
    fn a_reader_that_goes_while_far_behind_leaves_nothing() {
        let publisher = Publisher::new(2_000);
        let behind = publisher.subscribe();
        let name: Arc<str> = "main".into();
        let publish = |count| {
            for _ in 0..count {
                let monitor = Some(Arc::clone(&name));
                publisher.publish(Stall { monitor, ..stall() }).unwrap();
            }
        };
        publish(2_000);
        drop(behind);
        assert!(Arc::strong_count(&name) > 1_800);
        // Each of these reads more than it adds.
        publish(20);
        assert!(Arc::strong_count(&name) < 5);
    }
}
