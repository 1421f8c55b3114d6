//! The number of series, as docs::operating gives it.

use super::{Subject, endpoint};
use loopmon::export::Metrics;

/// The series of one monitor with `BUCKETS`.
const OF_EACH: usize = Metrics::BUCKETS.len() + 17;

#[test]
fn of_one_runtime_and_of_64() {
    for count in [1, 64] {
        let names = format!("many-of-{count}-");
        for number in 0..count {
            let subject = Subject::named(&format!("{names}{number}"));
            let export = subject.export();
            subject.install();
            subject.publish(1);
            subject.publish(200);
            subject.end(export);
        }
        let series = endpoint().series_of(&names);
        assert_eq!(series.len(), count * OF_EACH, "{series:#?}");
    }
}

#[test]
fn without_a_stalled_worker_there_is_no_series_of_any() {
    let subject = Subject::named("no-worker");
    let export = Metrics::new()
        .per_worker(true)
        .start(&subject.monitor)
        .unwrap();
    subject.install();
    subject.publish(1);
    subject.end(export);
    let series = endpoint().series_of("no-worker");
    assert_eq!(series.len(), OF_EACH - 8, "{series:#?}");
}
