//! Stalls as spans. What instruments measure of them is elsewhere.

use std::time::{Duration, SystemTime};

use ::opentelemetry::global::{BoxedSpan, BoxedTracer};
use ::opentelemetry::trace::{Span, SpanBuilder, SpanKind, Tracer};
use ::opentelemetry::{Context, KeyValue};

use super::attributes;
use crate::feed::guard;
use crate::stack::StackTrace;
use crate::stall::{Phase, Stall, StallId};

/// The spans of one monitor's stalls.
///
/// Dropping a span calls the SDK, too. A panic of that call during the unwinding of another would abort
/// the process, so each call of the SDK has its own guard.
pub(super) struct Spans {
    tracer: BoxedTracer,
    monitor: Vec<KeyValue>,
    open: Vec<OpenSpan>,
}

/// With more open spans, the oldest is ended: the ends of some stalls are lost.
const MOST_OPEN: usize = 1_024;

struct OpenSpan {
    span: BoxedSpan,
    /// The latest report of the stall.
    latest: Stall,
}

impl Spans {
    pub(super) fn new(tracer: BoxedTracer, monitor: &[KeyValue]) -> Spans {
        Spans {
            tracer,
            monitor: monitor.to_vec(),
            open: Vec::new(),
        }
    }

    /// Applies a report.
    pub(super) fn update(&mut self, stall: &Stall) {
        // A worker is in one stall at a time: the end of the other was lost.
        let replaces = |open: &OpenSpan| {
            open.latest.id == stall.id
                || (stall.worker().is_some() && open.latest.place == stall.place)
        };
        let is_full = self.open.len() >= MOST_OPEN;
        let known = self.open.iter().position(replaces);
        let known = known.or_else(|| is_full.then_some(0));
        let known = known.map(|index| self.open.remove(index));
        let mut open = match known {
            Some(mut open) if open.latest.id == stall.id => {
                open.latest = stall.clone();
                open
            }
            other => {
                if let Some(other) = other {
                    let lasted = other.latest.duration;
                    other.end(lasted, true);
                }
                match guard(|| self.start(stall)) {
                    Some(open) => open,
                    None => return,
                }
            }
        };
        if stall.phase == Phase::Ended {
            open.end(stall.duration, false);
        } else {
            guard(|| open.report());
            self.open.push(open);
        }
    }

    /// Ends all spans. `lasted` returns how long a stall has lasted by now, if it is still open.
    pub(super) fn end(&mut self, lasted: impl Fn(StallId) -> Option<Duration>) {
        for open in self.open.drain(..) {
            let lasted = lasted(open.latest.id).unwrap_or(open.latest.duration);
            open.end(lasted, true);
        }
    }

    fn start(&self, stall: &Stall) -> OpenSpan {
        // Samplers see only these attributes. Reports may correct the others, and SDKs keep both
        // values of an attribute that is set twice, so the others are set at the end.
        let id = KeyValue::new("loopmon.stall.id", stall.id.to_string());
        let monitor = self.monitor.iter().cloned();
        let attributes = monitor.chain(attributes::place(&stall.place)).chain([id]);
        let builder = SpanBuilder::from_name("loopmon.stall")
            .with_kind(SpanKind::Internal)
            .with_start_time(stall.began_at)
            .with_attributes(attributes);
        OpenSpan {
            // A root, whatever span is current on this thread.
            span: self.tracer.build_with_context(builder, &Context::new()),
            latest: stall.clone(),
        }
    }
}

impl OpenSpan {
    fn report(&mut self) {
        if !self.span.is_recording() {
            return;
        }
        let lasted = self.latest.duration;
        let mut attributes = findings(&self.latest);
        attributes.push(KeyValue::new(
            "loopmon.stall.duration",
            lasted.as_secs_f64(),
        ));
        let at = self.after(lasted);
        self.span
            .add_event_with_timestamp("loopmon.stall.report", at, attributes);
    }

    fn end(mut self, lasted: Duration, unseen: bool) {
        guard(|| self.finish(lasted, unseen));
        guard(|| drop(self.span));
    }

    fn finish(&mut self, lasted: Duration, unseen: bool) {
        if unseen {
            let unseen = KeyValue::new("loopmon.stall.end_unseen", true);
            self.span.set_attribute(unseen);
        }
        if self.span.is_recording() {
            self.describe();
        }
        self.span.end_with_timestamp(self.after(lasted));
    }

    fn describe(&mut self) {
        let latest = &self.latest;
        let thread = latest.thread.as_ref();
        let id = thread.and_then(|thread| thread.id).map(i64::from);
        let name = thread.and_then(|thread| thread.name.clone());
        let task = latest.task.map(|task| task.to_string());
        let trace = latest.trace.as_ref().map(|trace| trace.to_string());
        let known = [
            id.map(|id| KeyValue::new("thread.id", id)),
            name.map(|name| KeyValue::new("thread.name", name)),
            task.map(|task| KeyValue::new("loopmon.task.id", task)),
            trace.map(|trace| KeyValue::new("code.stacktrace", trace)),
        ];
        let known = known.into_iter().flatten();
        self.span.set_attributes(known.chain(findings(latest)));
    }

    fn after(&self, lasted: Duration) -> SystemTime {
        let began_at = SystemTime::from(self.latest.began_at);
        began_at.checked_add(lasted).unwrap_or(began_at)
    }
}

/// The attributes of the cause and the culprit, as far as they are known.
fn findings(stall: &Stall) -> Vec<KeyValue> {
    let mut found = vec![attributes::cause(stall.cause.label())];
    if let Some(syscall) = stall.cause.syscall() {
        let name = syscall.to_string();
        found.push(KeyValue::new("loopmon.stall.syscall", name));
    }
    if let Some(frame) = stall.trace.as_deref().and_then(StackTrace::culprit) {
        let function = frame.function();
        let file = frame.file();
        found.extend(function.map(|name| KeyValue::new("code.function.name", name.to_owned())));
        found.extend(file.map(|path| KeyValue::new("code.file.path", path.to_owned())));
        let line = frame.line().map(i64::from);
        found.extend(line.map(|line| KeyValue::new("code.line.number", line)));
    }
    found
}
