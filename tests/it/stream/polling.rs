//! How adapters poll their source: fused, woken, sized, and of any kind.

use std::collections::VecDeque;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::stream::FusedStream;
use futures::stream::{Empty, iter};
use futures::{Stream, StreamExt};
use loopmon::{Sample, SampleStreamExt, stream};
use proptest::collection::vec;
use proptest::prelude::proptest;
use tokio_test::{assert_pending, assert_ready, assert_ready_eq, task};

use super::{Boxed, collect, every_adapter, lags, ms, samples};

/// Gives its samples, then ends. Fails the test when it is polled after that.
#[derive(Debug)]
struct EndsOnce {
    samples: VecDeque<Sample>,
    ended: bool,
}

impl Stream for EndsOnce {
    type Item = Sample;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Sample>> {
        assert!(!self.ended, "polled after its end");
        let sample = self.samples.pop_front();
        self.ended = sample.is_none();
        Poll::Ready(sample)
    }
}

#[test]
fn the_end_is_for_good_and_the_source_is_left_alone_after_it() {
    for given in [vec![], vec![0], vec![60, 60, 60, 0]] {
        let source = || EndsOnce {
            samples: samples(given.iter().copied()).into(),
            ended: false,
        };
        for (name, adapter) in every_adapter(source) {
            let mut adapter = task::spawn(adapter);
            assert!(!adapter.is_terminated(), "{name}");
            while let Some(_item) = assert_ready!(adapter.poll_next(), "{name}") {}
            assert!(adapter.is_terminated(), "{name}");
            assert_ready_eq!(adapter.poll_next(), None, "{name}");
            assert_eq!(adapter.size_hint(), (0, Some(0)), "{name}");
        }
    }
}

#[test]
fn one_wake_up_for_each_sample_and_one_for_the_end() {
    let mut senders = Vec::new();
    let adapters = every_adapter(|| {
        let (sender, receiver) = mpsc::unbounded();
        senders.push(sender);
        receiver
    });
    for ((name, adapter), sender) in adapters.into_iter().zip(senders) {
        let mut adapter = task::spawn(adapter);
        assert_pending!(adapter.poll_next(), "{name}");
        assert!(!adapter.is_woken(), "{name}: nothing has come");
        for sample in samples([0, 60, 0, 60, 60, 60]) {
            sender.unbounded_send(sample).unwrap();
            assert!(adapter.is_woken(), "{name}");
            drain(&mut adapter);
            assert!(!adapter.is_woken(), "{name}: told already");
        }
        drop(sender);
        assert!(adapter.is_woken(), "{name}: the end");
        drain(&mut adapter);
        assert!(adapter.is_terminated(), "{name}");
    }
}

/// Polls until there is nothing more for now.
fn drain(adapter: &mut task::Spawn<Boxed>) {
    while let Poll::Ready(Some(_item)) = adapter.poll_next() {}
}

proptest! {
    #[test]
    fn the_size_hint_holds_at_every_step(lags in vec(0..100_u64, 0..30)) {
        for (name, mut adapter) in every_adapter(|| iter(samples(lags.clone()))) {
            let mut hints = vec![adapter.size_hint()];
            let mut adapter = task::spawn(&mut adapter);
            while let Some(_item) = assert_ready!(adapter.poll_next()) {
                hints.push(adapter.size_hint());
            }
            for (left, (lower, upper)) in hints.into_iter().rev().enumerate() {
                assert!(lower <= left, "{name}: {lower} and not {left}");
                let holds = upper.is_none_or(|upper| left <= upper);
                assert!(holds, "{name}: {upper:?} and not {left}");
            }
        }
    }
}

#[test]
fn what_gives_each_sample_again_is_as_long_as_its_source() {
    for (name, adapter) in every_adapter(|| iter(samples([0; 7]))) {
        let exact = ["moving_average", "ewma", "moving_max", "moving_percentile"].contains(&name);
        assert_eq!(adapter.size_hint() == (7, Some(7)), exact, "{name}");
    }
}

#[test]
fn a_source_may_be_borrowed_boxed_or_pinned() {
    let mut borrowed = iter(samples([60, 0, 70, 0, 80]));
    assert_eq!(lags((&mut borrowed).lag_above(ms(50)).take(1)), [60]);
    let boxed: Box<dyn Stream<Item = Sample> + Unpin> = Box::new(borrowed);
    assert_eq!(lags(boxed.lag_above(ms(75))), [80]);

    let never_moves = futures::stream::unfold(PhantomPinned, |_pinned| async {
        None::<(Sample, PhantomPinned)>
    });
    assert_eq!(collect(never_moves.lag_above(ms(50))), []);
}

#[test]
fn an_adapter_can_go_where_its_source_can() {
    fn anywhere<T: Send + Sync + Unpin>() {}
    type Source = Empty<Sample>;
    anywhere::<stream::LagAbove<Source>>();
    anywhere::<stream::LagBelow<Source>>();
    anywhere::<stream::LagSustained<Source>>();
    anywhere::<stream::MovingAverage<Source>>();
    anywhere::<stream::Ewma<Source>>();
    anywhere::<stream::MovingMax<Source>>();
    anywhere::<stream::MovingPercentile<Source>>();
    anywhere::<stream::LagAlerts<Source>>();
    #[cfg(feature = "histogram")]
    anywhere::<stream::Summarize<Source>>();
}
