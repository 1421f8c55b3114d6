//! A subscriber that is stuck.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use loopmon::Phase;
use loopmon::export::Tracing;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::stalls::{block, current_thread, watching};

/// While this is locked, writing an event blocks.
static GATE: Mutex<()> = Mutex::new(());
static STALLS: AtomicUsize = AtomicUsize::new(0);

fn gate() -> MutexGuard<'static, ()> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Gated;

impl Subscriber for Gated {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("loopmon")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        drop(gate());
        if event.metadata().target() == "loopmon::stall" {
            STALLS.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_stuck_subscriber_stops_neither_detection_nor_the_monitor() {
    tracing::subscriber::set_global_default(Gated).unwrap();
    let stuck = gate();

    let runtime = current_thread();
    let monitor = watching().name("gated").build().unwrap();
    let export = Tracing::new().start(&monitor).unwrap();
    let mut stalls = monitor.stalls();
    let reader = thread::spawn(move || {
        let mut phases = Vec::new();
        while let Some(stall) = block_on(stalls.next()) {
            phases.push(stall.phase);
        }
        phases
    });
    runtime.block_on(async {
        monitor.install().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        block();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(monitor.latest().is_some());
        monitor.stop();
        monitor.stopped().await;
    });
    let phases = reader.join().unwrap();
    assert_eq!(phases.first(), Some(&Phase::Started));
    assert_eq!(phases.last(), Some(&Phase::Ended));
    assert_eq!(STALLS.load(Ordering::Relaxed), 0);

    drop(stuck);
    drop(monitor);
    block_on(export.finish());
    assert_eq!(STALLS.load(Ordering::Relaxed), phases.len());
}
