//! A broadcast channel that never waits for a reader and counts what each of them loses.
//!
//! The channel itself is `async-broadcast` in overflow mode. This file keeps it open while nobody
//! reads, and turns its overflow errors into a count on the reader's next item.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_broadcast::{InactiveReceiver, Receiver, RecvError, Sender};
use futures::stream::{FusedStream, Stream};

/// An item that tells its reader how many items before it the reader has lost.
pub(crate) trait Item: Clone + Send + 'static {
    fn missed(&mut self) -> &mut u64;
}

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct Publisher<T> {
    sender: Sender<T>,
    // Without any receiver `async-broadcast` closes the channel for good.
    _keeps_open: InactiveReceiver<T>,
}

/// The channel was closed.
#[derive(Debug)]
pub(crate) struct Closed;

impl<T: Item> Publisher<T> {
    /// `capacity` is how many items each reader may lag behind; at least one.
    pub(crate) fn new(capacity: usize) -> Publisher<T> {
        let (mut sender, receiver) = async_broadcast::broadcast(capacity);
        sender.set_overflow(true);
        Publisher {
            sender,
            _keeps_open: receiver.deactivate(),
        }
    }

    /// Hands `item` to every reader there is now, pushing out their oldest if they are full.
    pub(crate) fn publish(&self, item: T) -> Result<(), Closed> {
        match self.sender.try_broadcast(item) {
            Err(error) if error.is_closed() => Err(Closed),
            // `Inactive`: nobody reads, nobody loses. `Full`: not in overflow mode.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A reader of everything published from now on.
    pub(crate) fn subscribe(&self) -> Subscription<T> {
        Subscription {
            receiver: self.sender.new_receiver(),
            unreported: 0,
            missed: 0,
            ended: false,
        }
    }

    /// Ends every subscription after what is buffered for it.
    pub(crate) fn close(&self) {
        self.sender.close();
    }
}

/// One reader's stream.
#[derive(Debug)]
pub(crate) struct Subscription<T> {
    receiver: Receiver<T>,
    /// Lost since the last item given out.
    unreported: u64,
    /// Lost in all.
    missed: u64,
    ended: bool,
}

impl<T> Subscription<T> {
    /// How many items this reader has lost so far.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }
}

impl<T: Item> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        while !this.ended {
            match ready!(Pin::new(&mut this.receiver).poll_recv(cx)) {
                Some(Ok(mut item)) => {
                    *item.missed() += std::mem::take(&mut this.unreported);
                    return Poll::Ready(Some(item));
                }
                Some(Err(RecvError::Overflowed(lost))) => {
                    this.unreported += lost;
                    this.missed += lost;
                }
                Some(Err(RecvError::Closed)) | None => this.ended = true,
            }
        }
        Poll::Ready(None)
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
