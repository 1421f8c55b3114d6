//! Counters of the requests that shedding policies have admitted and refused. Who counts is `shed`.

use std::ptr;

use ::metrics::{Key, Label, Recorder, Unit};

use super::keys::{Keys, counter};
use crate::admissions::{Reason, Totals};

const ADMITTED: &str = "loopmon_requests_admitted_total";
const REFUSED: &str = "loopmon_requests_refused_total";

/// The counters of one monitor.
pub(super) struct RequestCounters {
    admitted: Key,
    /// In the order of `Reason::ALL`.
    refused: [Key; Reason::ALL.len()],
    written: Totals,
    /// The address of the recorder that has all of them.
    prepared: Option<usize>,
}

impl RequestCounters {
    pub(super) fn new(keys: &Keys) -> RequestCounters {
        let refused = |reason: Reason| {
            let label = Label::new("reason", reason.label());
            keys.with_label(REFUSED, Some(label))
        };
        RequestCounters {
            admitted: keys.with_label(ADMITTED, None),
            refused: Reason::ALL.map(refused),
            written: Totals::default(),
            prepared: None,
        }
    }

    pub(super) fn write(&mut self, totals: &Totals, recorder: &dyn Recorder) {
        let address = ptr::from_ref(recorder).addr();
        let is_new = self.prepared.replace(address) != Some(address);
        if is_new {
            describe(recorder);
        }
        // First, as a recorder may panic.
        let new = totals.since(&std::mem::replace(&mut self.written, *totals));
        let counts = [&self.admitted].into_iter().chain(&self.refused);
        for (key, count) in counts.zip([new.admitted].into_iter().chain(new.refused)) {
            // A counter shows before it counts.
            if is_new || count > 0 {
                counter(recorder, key).increment(count as u64);
            }
        }
    }
}

fn describe(recorder: &dyn Recorder) {
    recorder.describe_counter(
        ADMITTED.into(),
        Some(Unit::Count),
        "Requests that the shedding policies have admitted.".into(),
    );
    recorder.describe_counter(
        REFUSED.into(),
        Some(Unit::Count),
        "Requests that the shedding policies have refused.".into(),
    );
}
