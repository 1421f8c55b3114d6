//! Stalls as spans.

use std::time::{Duration, SystemTime};

use ::opentelemetry::global::{BoxedSpan, BoxedTracer};
use ::opentelemetry::trace::{Span, SpanBuilder, SpanKind, Tracer};
use ::opentelemetry::{Context, KeyValue};

use crate::export::feed::guard;
use crate::stack::culprit;
use crate::stall::{Phase, Stall};

/// The spans of one monitor's stalls.
///
/// A span calls the SDK when it is dropped, too. Should that panic, it must not be while another panic
/// is on its way, which would end the process: so each call of the SDK is guarded for itself.
pub(super) struct Spans {
    tracer: BoxedTracer,
    monitor: Vec<KeyValue>,
    open: Vec<OpenSpan>,
}

struct OpenSpan {
    span: BoxedSpan,
    /// What has been told of the stall last.
    told: Stall,
}

impl Spans {
    pub(super) fn new(tracer: BoxedTracer, monitor: &[KeyValue]) -> Spans {
        Spans {
            tracer,
            monitor: monitor.to_vec(),
            open: Vec::new(),
        }
    }

    /// Takes a report in.
    pub(super) fn update(&mut self, stall: &Stall) {
        let of_worker = |open: &OpenSpan| open.told.worker == stall.worker;
        let known = self.open.iter().position(of_worker);
        let known = known.map(|index| self.open.swap_remove(index));
        let mut open = match known {
            Some(mut open) if open.told.began_at == stall.began_at => {
                open.told = stall.clone();
                open
            }
            // A worker is in one stall at a time: the end of the other was lost.
            other => {
                if let Some(other) = other {
                    let lasted = other.told.duration;
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

    /// Ends all. `lasted` knows how long those of them that go on have lasted by now, by their
    /// worker.
    pub(super) fn end(&mut self, lasted: impl Fn(usize) -> Option<Duration>) {
        for open in self.open.drain(..) {
            let lasted = lasted(open.told.worker).unwrap_or(open.told.duration);
            open.end(lasted, true);
        }
    }

    fn start(&self, stall: &Stall) -> OpenSpan {
        // Samplers see no more than these. What is told of a stall may be corrected, and SDKs keep
        // both if an attribute is set twice, so the rest comes at the end.
        let monitor = self.monitor.iter().cloned();
        let attributes = monitor.chain([super::worker(stall.worker)]);
        let builder = SpanBuilder::from_name("loopmon.stall")
            .with_kind(SpanKind::Internal)
            .with_start_time(stall.began_at)
            .with_attributes(attributes);
        OpenSpan {
            // A root, whatever goes on on this thread.
            span: self.tracer.build_with_context(builder, &Context::new()),
            told: stall.clone(),
        }
    }
}

impl OpenSpan {
    fn report(&mut self) {
        if !self.span.is_recording() {
            return;
        }
        let lasted = self.told.duration;
        let mut attributes = findings(&self.told);
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
        let told = &self.told;
        if let Some(thread) = &told.thread {
            let id = thread
                .id
                .map(|id| KeyValue::new("thread.id", i64::from(id)));
            let name = thread.name.clone();
            let name = name.map(|name| KeyValue::new("thread.name", name));
            self.span.set_attributes(id.into_iter().chain(name));
        }
        if let Some(task) = told.task {
            let task = KeyValue::new("loopmon.task.id", task.to_string());
            self.span.set_attribute(task);
        }
        if let Some(trace) = &told.trace {
            let trace = KeyValue::new("code.stacktrace", trace.to_string());
            self.span.set_attribute(trace);
        }
        self.span.set_attributes(findings(told));
    }

    fn after(&self, lasted: Duration) -> SystemTime {
        let began_at = SystemTime::from(self.told.began_at);
        began_at.checked_add(lasted).unwrap_or(began_at)
    }
}

/// What has been found out: why, and where.
fn findings(stall: &Stall) -> Vec<KeyValue> {
    let mut found = vec![super::cause(stall.cause.label())];
    if let Some(syscall) = stall.cause.syscall() {
        let name = syscall.to_string();
        found.push(KeyValue::new("loopmon.stall.syscall", name));
    }
    let frame = stall.trace.as_deref().and_then(|trace| {
        let index = culprit(trace)?;
        trace.frames().get(index)
    });
    if let Some(frame) = frame {
        let function = frame.function();
        let file = frame.file();
        found.extend(function.map(|name| KeyValue::new("code.function.name", name.to_owned())));
        found.extend(file.map(|path| KeyValue::new("code.file.path", path.to_owned())));
        let line = frame.line().map(i64::from);
        found.extend(line.map(|line| KeyValue::new("code.line.number", line)));
    }
    found
}
