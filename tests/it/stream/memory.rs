//! What adapters allocate.

use allocation_counter::measure;
use futures::stream::iter;
use futures::{FutureExt, StreamExt};

use super::{every_adapter, samples};

/// How often the adapter of that index allocates over so many samples.
fn allocations(index: usize, count: u64) -> u64 {
    let given = samples((0..count).map(|step| step * step % 101));
    measure(|| {
        let (_, adapter) = every_adapter(|| iter(given.clone())).swap_remove(index);
        let end = adapter.for_each(|_| std::future::ready(()));
        end.now_or_never().expect("it never waits");
    })
    .count_total
}

#[test]
fn a_sample_allocates_nothing_once_windows_are_full() {
    for (index, (name, _)) in every_adapter(|| iter([])).iter().enumerate() {
        let (short, long) = (allocations(index, 1_000), allocations(index, 20_000));
        assert_eq!(long, short, "{name}");
    }
}
