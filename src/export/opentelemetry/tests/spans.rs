//! Stalls become spans.

use super::*;

#[test]
fn a_stall_is_a_span_dated_back_to_its_start() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    let now = clock::now();
    exporter.stall(&stall(Phase::Started, 1, 7, 0.1), now);
    exporter.stall(&stall(Phase::Ongoing, 1, 7, 0.2), now);
    let mut ended = stall(Phase::Ended, 1, 7, 0.25);
    ended.cause = Cause::Blocked {
        syscall: Some(Syscall::new(9_999)),
    };
    assert!(sdk.spans().is_empty());
    exporter.stall(&ended, now);

    let spans = sdk.spans();
    let [span] = &*spans else { panic!("{spans:?}") };
    assert_eq!(span.name, "loopmon.stall");
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert_eq!(span.status, Status::Unset);
    assert_eq!((span.start_time, span.end_time), (at(7.0), at(7.25)));
    let of_span = |key| attribute(&span.attributes, key);
    assert_eq!(of_span("loopmon.monitor.name"), "main");
    assert_eq!(of_span("loopmon.worker.index"), "1");
    assert_eq!(of_span("loopmon.stall.id"), ended.id.to_string());
    // What the latest report says, and only that.
    assert_eq!(of_span("loopmon.stall.cause"), "blocked");
    assert_eq!(of_span("loopmon.stall.syscall"), "system call 9999");
    let thread = OsThread::current();
    assert_eq!(of_span("thread.name"), &*thread.name.unwrap());
    if let Some(id) = thread.id {
        assert_eq!(of_span("thread.id"), id.to_string());
    }
    assert!(!has(&span.attributes, "loopmon.stall.end_unseen"));

    let events: Vec<_> = span
        .events
        .iter()
        .map(|event| {
            let cause = attribute(&event.attributes, "loopmon.stall.cause");
            let lasted = attribute(&event.attributes, "loopmon.stall.duration");
            (&*event.name, event.timestamp, cause, lasted)
        })
        .collect();
    let report = |lasted: f64| {
        let at = at(7.0 + lasted);
        (
            "loopmon.stall.report",
            at,
            "on_cpu".to_owned(),
            lasted.to_string(),
        )
    };
    assert_eq!(events, [report(0.1), report(0.2)]);
}

#[test]
fn the_culprit_is_an_attribute_of_the_span_and_its_events() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    let calls = [("read", None), ("app::save", Some("/src/orders.rs"))];
    for (phase, culprit) in [
        (Phase::Started, Some(1)),
        (Phase::Ended, Some(1)),
        (Phase::Ended, None),
    ] {
        let mut stall = stall(phase, 1, 7, 0.1);
        stall.trace = Some(Arc::new(StackTrace::of(&calls, culprit)));
        exporter.stall(&stall, clock::now());
    }
    let spans = sdk.spans();
    for attributes in [&spans[0].attributes, &spans[0].events[0].attributes] {
        assert_eq!(attribute(attributes, "code.function.name"), "app::save");
        assert_eq!(attribute(attributes, "code.file.path"), "/src/orders.rs");
        assert_eq!(attribute(attributes, "code.line.number"), "1");
    }
    assert!(!has(&spans[1].attributes, "code.function.name"));
    assert!(has(&spans[1].attributes, "code.stacktrace"));
}

#[test]
fn a_span_is_a_root_whatever_span_is_current() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    let other = sdk.tracers.tracer("other").start("other");
    let attached = Context::current_with_span(other).attach();
    exporter.stall(&stall(Phase::Ended, 1, 7, 0.1), clock::now());
    drop(attached);
    assert_eq!(sdk.spans()[0].parent_span_id, SpanId::INVALID);
}

#[test]
fn a_stall_reported_only_at_its_end_is_a_span() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    exporter.stall(&stall(Phase::Ended, 0, 7, 0.25), clock::now());
    exporter.stall(&stall(Phase::Ongoing, 0, 8, 0.5), clock::now());
    exporter.stall(&stall(Phase::Ended, 0, 8, 0.75), clock::now());
    let times: Vec<_> = sdk
        .spans()
        .iter()
        .map(|span| (span.start_time, span.end_time))
        .collect();
    assert_eq!(times, [(at(7.0), at(7.25)), (at(8.0), at(8.75))]);
}

#[test]
fn a_lost_end_is_where_the_stall_was_last_known_to_be_open() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    let t0 = clock::now();
    exporter.stall(&stall(Phase::Started, 0, 7, 0.5), t0);
    exporter.stall(&stall(Phase::Started, 1, 7, 0.5), t0);
    let mut after_loss = stall(Phase::Started, 0, 9, 0.25);
    after_loss.missed = 4;
    exporter.stall(&after_loss, t0);
    assert!(close(sdk.value("loopmon.stall.report.missed"), 4.0));
    // The end of worker 1's stall may be among the lost reports, so it is not open until the end.
    exporter.detached();
    assert!(close(sdk.value("loopmon.stall.active"), 0.0));
    assert!(close(sdk.value("loopmon.stall.age"), 0.0));

    let spans = sdk.spans();
    let of_worker = |worker: &str, began: f64| {
        let mut spans = spans.iter().filter(|span| {
            span.start_time == at(began)
                && attribute(&span.attributes, "loopmon.worker.index") == worker
        });
        let span = spans.next().unwrap();
        assert_eq!(
            attribute(&span.attributes, "loopmon.stall.end_unseen"),
            "true"
        );
        span.end_time
    };
    assert_eq!(spans.len(), 3);
    assert_eq!(of_worker("0", 7.0), at(7.5));
    assert_eq!(of_worker("1", 7.0), at(7.5));
    assert!(of_worker("0", 9.0) > at(9.25));
}

#[test]
fn stalls_that_are_sampled_out_are_counted() {
    let sdk = Sdk::sampled(Sampler::AlwaysOff);
    let mut exporter = sdk.exporter("main", false);
    exporter.stall(&stall(Phase::Started, 0, 7, 0.25), clock::now());
    exporter.stall(&stall(Phase::Ended, 0, 7, 0.5), clock::now());
    assert!(sdk.spans().is_empty());
    assert!(close(sdk.value("loopmon.stall.time"), 0.5));
}
