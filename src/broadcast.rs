//! A broadcast channel that never waits for a reader and counts what each of them loses.
//!
//! The channel itself is `async-broadcast` in overflow mode. This file keeps it open while nobody
//! reads, and turns its overflow errors into a count on the reader's next item.
//!
//! It wakes, clones and drops wakers while it is locked, so no reader ever waits with it: readers
//! wait with us, see `waiting.rs`. Then a reader's waker cannot hold up the channel, nor poison it.

mod leavers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_broadcast::{InactiveReceiver, Receiver, Sender, TryRecvError};
use futures::FutureExt;
use futures::stream::{FusedStream, Stream};

use crate::waiting::{Seat, Waiting};
use leavers::Leavers;

/// An item that tells its reader how many items before it the reader has lost.
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
    // Without any receiver `async-broadcast` closes the channel for good.
    _keeps_open: InactiveReceiver<T>,
    waiting: Waiting,
    leavers: Leavers<T>,
}

/// The channel was closed.
#[derive(Debug)]
pub(crate) struct Closed;

impl<T: Item> Publisher<T> {
    /// `capacity` is how many items each reader may lag behind; at least one.
    pub(crate) fn new(capacity: usize) -> Publisher<T> {
        let (mut sender, mut receiver) = async_broadcast::broadcast(capacity);
        sender.set_overflow(true);
        // It allocates what it keeps of waiting readers when it is first used. Later may be too late:
        // the allocator may be what the program is stuck in.
        receiver.recv_direct().now_or_never();
        Publisher {
            channel: Arc::new(Channel {
                sender,
                _keeps_open: receiver.deactivate(),
                waiting: Waiting::default(),
                leavers: Leavers::default(),
            }),
        }
    }

    /// Hands `item` to every reader there is now, pushing out their oldest if they are full. It
    /// allocates nothing, and runs no code of a reader.
    pub(crate) fn publish(&self, item: T) -> Result<(), Closed> {
        match self.channel.sender.try_broadcast(item) {
            Ok(_pushed_out) => {
                self.channel.waiting.wake_all();
                self.channel.leavers.go_on();
            }
            Err(error) if error.is_closed() => return Err(Closed),
            // `Inactive`: nobody reads, nobody loses. `Full`: not in overflow mode.
            Err(_) => {}
        }
        Ok(())
    }

    /// A reader of everything published from now on.
    pub(crate) fn subscribe(&self) -> Subscription<T> {
        Subscription {
            seat: self.channel.waiting.seat(),
            leavers: self.channel.leavers.clone(),
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
    seat: Seat,
    leavers: Leavers<T>,
    /// Until it is dropped.
    receiver: Option<Receiver<T>>,
    /// Lost since the last item given out.
    unreported: u64,
    /// Lost in all.
    missed: u64,
    ended: bool,
}

impl<T: Item> Subscription<T> {
    /// How many items this reader has lost so far.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }
}

impl<T: Item> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let mut waits = false;
        while let Some(receiver) = this.receiver.as_mut().filter(|_| !this.ended) {
            match receiver.try_recv() {
                Ok(mut item) => {
                    *item.missed_mut() += std::mem::take(&mut this.unreported);
                    return Poll::Ready(Some(item));
                }
                Err(TryRecvError::Overflowed(lost)) => {
                    this.unreported += lost;
                    this.missed += lost;
                }
                Err(TryRecvError::Closed) => this.ended = true,
                Err(TryRecvError::Empty) if waits => return Poll::Pending,
                Err(TryRecvError::Empty) => {
                    this.seat.wait(cx.waker());
                    waits = true;
                }
            }
        }
        Poll::Ready(None)
    }
}

impl<T: Item> Drop for Subscription<T> {
    fn drop(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            self.leavers.leave(receiver);
        }
    }
}

impl<T: Item> FusedStream for Subscription<T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// Makes a reader's type, with a `subscription`, the stream of its items.
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
        // `task::spawn` wakes as some executor does, `now_or_never` as none.
        let mut strangers: Vec<_> = (0..50).map(subscribe).collect();
        let mut known: Vec<_> = (0..50).map(subscribe).collect();
        for _ in 0..3 {
            for reader in &mut strangers {
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
