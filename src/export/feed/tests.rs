use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Builder;

use super::*;

/// Counts.
struct Counter {
    samples: Arc<AtomicU64>,
    wants_tick: bool,
}

impl Exporter for Counter {
    fn sample(&mut self, _: &Sample) {
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    fn stall(&mut self, _: &Stall, _: Instant) {}

    fn wants_tick(&self) -> bool {
        self.wants_tick
    }

    fn tick(&mut self, _: Instant) {}

    fn detached(&mut self) {}
}

/// How often 1,000 samples allocate on the way to a reader that waits for each.
fn allocations<R: Future<Output = ()> + Send + 'static>(
    reader: impl FnOnce(&Monitor, Arc<AtomicU64>) -> R,
) -> u64 {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let samples = Arc::new(AtomicU64::new(0));
    let monitor = Monitor::builder().install().unwrap();
    runtime.spawn(reader(&monitor, Arc::clone(&samples)));
    let second = Duration::from_secs(1);
    runtime.block_on(time::sleep(10 * second));
    let before = samples.load(Ordering::Relaxed);
    let allocated = allocation_counter::measure(|| {
        runtime.block_on(time::sleep(100 * second));
    });
    assert_eq!(samples.load(Ordering::Relaxed), before + 1_000);
    allocated.count_total
}

/// A reader that waits costs an allocation for each sample: the channel's note whom to wake.
#[test]
fn handing_a_sample_on_allocates_no_more_than_reading_it() {
    let plain = allocations(|monitor, read| {
        let mut samples = monitor.subscribe();
        async move {
            while samples.next().await.is_some() {
                read.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for wants_tick in [false, true] {
        let export = allocations(|monitor, samples| {
            let mut counter = Counter {
                samples,
                wants_tick,
            };
            let run = Run::subscribe(monitor);
            async move { run.serve(&mut counter).await }
        });
        assert_eq!(export, plain, "wants_tick: {wants_tick}");
    }
}
