//! A recorder that panics.

use super::*;

/// A recorder and its handles, which panic when they are written to, or when they are dropped.
#[derive(Clone, Copy)]
struct Touchy {
    written: bool,
    dropped: bool,
}

struct TouchyHandle(Touchy);

impl TouchyHandle {
    fn write(&self) {
        assert!(!self.0.written, "asked for by a test");
    }
}

impl Drop for TouchyHandle {
    fn drop(&mut self) {
        assert!(!self.0.dropped, "asked for by a test");
    }
}

impl CounterFn for TouchyHandle {
    fn increment(&self, _: u64) {
        self.write();
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for TouchyHandle {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, _: f64) {
        self.write();
    }
}

impl HistogramFn for TouchyHandle {
    fn record(&self, _: f64) {
        self.write();
    }
}

impl Recorder for Touchy {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(TouchyHandle(*self)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(TouchyHandle(*self)))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(TouchyHandle(*self)))
    }
}

/// Two panics at once would abort the process.
#[test]
fn a_recorder_that_panics_panics_once_at_a_time() {
    for (written, dropped) in [(true, false), (false, true)] {
        let recorder = Touchy { written, dropped };
        let now = clock::now();
        let mut exporter = ToRecorder::new(&Name::new("main", 0), false);
        ::metrics::with_local_recorder(&recorder, || {
            guard(|| exporter.begin());
            for sampled in [now, now + Handles::KEPT_FOR] {
                guard(|| exporter.sample(&sample(Duration::ZERO, 0), sampled));
            }
            guard(|| exporter.stall(&stall(Phase::Ended, 0, 7, seconds(1.0)), now));
            guard(|| exporter.detached());
            guard(|| drop(exporter));
        });
    }
}
