//! What all adapters have in common: their type, and how they are polled. What each adapter does with a
//! sample is a `Rule` in its own file.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::{Fuse, FusedStream, Stream, StreamExt};
use pin_project_lite::pin_project;

use crate::sample::Sample;

/// The type of [`Stream::size_hint`].
pub(super) type SizeHint = (usize, Option<usize>);

/// How an adapter turns the samples of its source into items.
pub(super) trait Rule {
    type Item;

    /// Takes `sample`, and returns an item if one is due.
    fn push(&mut self, sample: Sample) -> Option<Self::Item>;

    /// Returns the last item, at the end of the source. The second call returns `None`.
    fn finish(&mut self) -> Option<Self::Item> {
        None
    }

    /// Bounds the number of remaining items by that of the remaining `samples`.
    fn size_hint(&self, samples: SizeHint) -> SizeHint;
}

pin_project! {
    /// A source with a rule applied to it.
    #[derive(Debug)]
    pub(super) struct Adapter<St, R> {
        // Fused, because a source must not be polled again after its end.
        #[pin]
        source: Fuse<St>,
        pub(super) rule: R,
    }
}

impl<St: Stream, R> Adapter<St, R> {
    pub(super) fn new(source: St, rule: R) -> Adapter<St, R> {
        Adapter {
            source: source.fuse(),
            rule,
        }
    }
}

impl<St: Stream<Item = Sample>, R: Rule> Stream for Adapter<St, R> {
    type Item = R::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        let mut this = self.project();
        while let Some(sample) = ready!(this.source.as_mut().poll_next(cx)) {
            if let Some(item) = this.rule.push(sample) {
                return Poll::Ready(Some(item));
            }
        }
        Poll::Ready(this.rule.finish())
    }

    fn size_hint(&self) -> SizeHint {
        self.rule.size_hint(self.source.size_hint())
    }
}

impl<St: Stream<Item = Sample>, R: Rule> FusedStream for Adapter<St, R> {
    fn is_terminated(&self) -> bool {
        // The rule's last item came out with the end of the source.
        self.source.is_terminated()
    }
}

/// Defines the public type of an adapter: the stream of a rule's items. Its arguments make the rule.
macro_rules! adapter {
    (
        $(#[$docs:meta])*
        $Name:ident($($argument:ident: $Argument:ty),+): $Rule:ty => $Item:ty { $rule:expr }
    ) => {
        pin_project_lite::pin_project! {
            $(#[$docs])*
            #[derive(Debug)]
            #[must_use = "streams do nothing unless polled"]
            pub struct $Name<St> {
                #[pin]
                adapter: $crate::stream::adapter::Adapter<St, $Rule>,
            }
        }

        impl<St: futures::Stream> $Name<St> {
            pub(super) fn new(source: St, $($argument: $Argument),+) -> $Name<St> {
                $Name {
                    adapter: $crate::stream::adapter::Adapter::new(source, $rule),
                }
            }
        }

        impl<St> futures::Stream for $Name<St>
        where
            St: futures::Stream<Item = $crate::Sample>,
        {
            type Item = $Item;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<$Item>> {
                self.project().adapter.poll_next(cx)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.adapter.size_hint()
            }
        }

        impl<St> futures::stream::FusedStream for $Name<St>
        where
            St: futures::Stream<Item = $crate::Sample>,
        {
            fn is_terminated(&self) -> bool {
                self.adapter.is_terminated()
            }
        }
    };
}
pub(super) use adapter;
