//! The attributes that instruments and spans share. What only one of them has stays there.

use std::sync::Arc;

use ::opentelemetry::KeyValue;

use crate::export::names::Name;
use crate::stall::Place;

/// The attributes of one monitor: its name, and its index among the monitors of that name.
pub(super) fn monitor(name: &Name) -> Vec<KeyValue> {
    let monitor = KeyValue::new("loopmon.monitor.name", name.monitor.clone());
    let index = name.index();
    let index = index.map(|index| numbered("loopmon.monitor.index", index));
    [monitor].into_iter().chain(index).collect()
}

pub(super) fn place(place: &Place) -> Option<KeyValue> {
    let worker = place.worker();
    let worker = worker.map(|index| numbered("loopmon.worker.index", index));
    let future = place.future();
    worker.or_else(|| future.map(|name| KeyValue::new("loopmon.future.name", Arc::clone(name))))
}

pub(super) fn cause(label: &'static str) -> KeyValue {
    KeyValue::new("loopmon.stall.cause", label)
}

pub(super) fn reason(label: &'static str) -> KeyValue {
    KeyValue::new("loopmon.refusal.reason", label)
}

fn numbered(key: &'static str, number: usize) -> KeyValue {
    KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX))
}
