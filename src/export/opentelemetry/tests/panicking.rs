//! A processor of spans that panics.

use super::*;

/// Panics for each span that begins or ends.
#[derive(Debug)]
struct Touchy {
    begins: bool,
    ends: bool,
}

impl SpanProcessor for Touchy {
    fn on_start(&self, _: &mut Span, _: &Context) {
        assert!(!self.begins, "asked for by a test");
    }

    fn on_end(&self, _: SpanData) {
        assert!(!self.ends, "asked for by a test");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Two panics at once would abort the process.
#[test]
fn spans_that_panic_cost_spans_alone() {
    for (begins, ends) in [(false, true), (true, false)] {
        let mut sdk = Sdk::new();
        let now = clock::now();
        sdk.tracers = SdkTracerProvider::builder()
            .with_span_processor(Touchy { begins, ends })
            .build();
        let mut exporter = sdk.exporter("main", false);
        for worker in 0..3 {
            guard(|| exporter.stall(&stall(Phase::Started, worker, 7, 1.0), now));
        }
        guard(|| exporter.stall(&stall(Phase::Ended, 2, 7, 2.0), now));
        assert!(close(sdk.value("loopmon.stall.active"), 2.0));
        assert!(close(sdk.value("loopmon.stall.time"), 4.0));
        guard(|| exporter.detached());
        assert!(close(sdk.value("loopmon.stall.active"), 0.0));
    }
}
