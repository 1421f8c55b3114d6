use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::time;

use super::*;
use crate::sample::Sample;
use crate::stall::Stall;

/// Counts the samples.
struct Counter {
    samples: Arc<AtomicUsize>,
    wants_tick: bool,
}

impl Exporter for Counter {
    fn sample(&mut self, _: &Sample, _: Instant) {
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    fn stall(&mut self, _: &Stall, _: Instant) {}

    fn wants_tick(&self) -> bool {
        self.wants_tick
    }

    fn tick(&mut self, _: Instant) {}

    fn detached(&mut self) {}
}

/// Returns how many allocations 1,000 samples cost on the way to a reader that waits for each.
fn allocations<R: Future<Output = ()> + Send + 'static>(
    reader: impl FnOnce(&Monitor, Arc<AtomicUsize>) -> R,
) -> u64 {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let samples = Arc::new(AtomicUsize::new(0));
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

/// Reading a sample allocates nothing, so neither does exporting one.
#[test]
fn exporting_a_sample_allocates_no_more_than_reading_it() {
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
            let feed = Feed::of(monitor);
            async move {
                let (_alive, finished) = oneshot::channel();
                feed.serve(&mut counter, finished).await;
            }
        });
        assert_eq!(export, plain, "wants_tick: {wants_tick}");
    }
}

static EXPORTS: Exports = Exports::on("loopmon-test");

fn count(monitor: &Monitor) -> (Result<Export, Error>, Arc<AtomicUsize>) {
    let samples = Arc::new(AtomicUsize::new(0));
    let counter = Counter {
        samples: Arc::clone(&samples),
        wants_tick: false,
    };
    (EXPORTS.start(monitor, move |_| counter), samples)
}

#[test]
fn it_finishes_with_all_that_has_been_published_while_the_monitor_runs_on() {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let monitor = Monitor::builder().name("goes on").build().unwrap();
    let (export, samples) = count(&monitor);
    runtime.block_on(async {
        monitor.install().unwrap();
        time::sleep(Duration::from_millis(1_050)).await;
    });
    futures::executor::block_on(export.unwrap().finish());
    assert_eq!(samples.load(Ordering::Relaxed), 10);
    assert!(monitor.is_running());
    // The name is free.
    assert!(count(&monitor).0.is_ok());
}

#[test]
fn a_monitor_is_exported_once_and_others_may_have_its_name() {
    let monitor = || Monitor::builder().name("shared").build().unwrap();
    let monitors: Vec<Monitor> = (0..3).map(|_| monitor()).collect();
    for monitor in &monitors {
        assert!(count(monitor).0.is_ok());
        assert!(count(monitor).0.unwrap_err().is_already_exported());
    }
}

#[test]
fn an_exporter_that_cannot_be_created_ends_its_export_alone() {
    let monitor = Monitor::builder().name("panics").build().unwrap();
    let export = EXPORTS.start(&monitor, |_| -> Counter { panic!("as it should") });
    futures::executor::block_on(export.unwrap().finish());
    assert!(count(&monitor).0.is_ok());
}

/// Calls a function of the test for each sample, and panics in every other call.
struct Hostile<F>(F);

impl<F: FnMut() + Send + 'static> Exporter for Hostile<F> {
    fn begin(&mut self) {
        panic!("asked for by a test");
    }

    fn sample(&mut self, _: &Sample, _: Instant) {
        (self.0)();
    }

    fn stall(&mut self, _: &Stall, _: Instant) {}

    fn wants_tick(&self) -> bool {
        true
    }

    fn tick(&mut self, _: Instant) {
        panic!("asked for by a test");
    }

    fn detached(&mut self) {
        panic!("asked for by a test");
    }
}

impl<F> Drop for Hostile<F> {
    fn drop(&mut self) {
        panic!("asked for by a test");
    }
}

/// Runs a hostile export for a second, and returns how many samples another export on the same thread
/// gets.
fn beside(hostile: impl FnMut() + Send + 'static) -> usize {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let monitor = Monitor::builder().name("beside").build().unwrap();
    let export = EXPORTS.start(&monitor, move |_| Hostile(hostile)).unwrap();
    let other = Monitor::builder().name("beside").build().unwrap();
    let (counting, samples) = count(&other);
    runtime.block_on(async {
        monitor.install().unwrap();
        other.install().unwrap();
        time::sleep(Duration::from_millis(1_050)).await;
    });
    monitor.stop();
    other.stop();
    futures::executor::block_on(export.finish());
    futures::executor::block_on(counting.unwrap().finish());
    samples.load(Ordering::Relaxed)
}

#[test]
fn an_exporter_that_panics_in_every_call_costs_its_own_calls_alone() {
    assert_eq!(beside(|| panic!("asked for by a test")), 10);
}

#[test]
fn a_panic_that_carries_another_ends_the_call_alone() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("asked for by a test");
        }
    }
    assert_eq!(guard(|| std::panic::panic_any(Payload)), None::<()>);
}

#[test]
fn an_exporter_may_call_all_of_loopmon() {
    let monitor = Monitor::builder().name("called").build().unwrap();
    let kept = monitor.clone();
    let mut last = Some(Monitor::builder().build().unwrap());
    let samples = beside(move || {
        drop((
            monitor.subscribe(),
            monitor.stalls(),
            monitor.lag(),
            monitor.latest(),
        ));
        if let Ok(export) = EXPORTS.start(&monitor, |_| Hostile(|| {})) {
            drop(export);
        }
        monitor.install().ok();
        monitor.stop();
        // A recorder may hold the last handle.
        last.take();
    });
    assert_eq!(samples, 10);
    assert!(!kept.is_running());
}

#[test]
fn an_exporter_that_blocks_delays_those_of_its_kind_alone() {
    static BLOCKED: Exports = Exports::on("loopmon-blocked");
    let (let_go, released) = std::sync::mpsc::channel::<()>();
    let monitor = Monitor::builder().name("blocked").build().unwrap();
    let export = BLOCKED.start(&monitor, move |_| {
        released.recv().ok();
        Hostile(|| {})
    });
    // Starting another export does not wait for it.
    assert!(BLOCKED.start(&monitor, |_| Hostile(|| {})).is_err());
    let other = Monitor::builder().name("blocked").build().unwrap();
    let waiting = BLOCKED.start(&other, |_| Hostile(|| {})).unwrap();
    assert_eq!(beside(|| {}), 10);
    let_go.send(()).unwrap();
    futures::executor::block_on(waiting.finish());
    futures::executor::block_on(export.unwrap().finish());
}
