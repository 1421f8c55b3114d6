//! What shedding policies decide.

use loopmon::Hysteresis;
use loopmon::shed::Priority::{Critical, Normal};
use loopmon::shed::{Law, Policy};

use super::endpoint::eventually_or;
use super::{Subject, endpoint};
use crate::support::millis;

#[test]
fn requests_are_counted_by_what_became_of_them() {
    let subject = Subject::named("sheds");
    let export = subject.export();
    let law = Law::threshold(Hysteresis::new(millis(20), millis(10)).unwrap());
    // The policies of a monitor count together.
    let policies = [(); 2].map(|()| Policy::with_law(&subject.monitor, law));
    subject.install();
    let decide = || {
        subject.runtime.block_on(async {
            for policy in &policies {
                let _decided = (policy.admit(Normal), policy.admit(Critical));
            }
        });
    };
    decide();
    subject.publish(50);
    decide();
    subject.publish(50);
    let expected = [
        r#"loopmon_requests_admitted_total{monitor="sheds"} 6"#,
        r#"loopmon_requests_refused_total{monitor="sheds",reason="lag"} 2"#,
        r#"loopmon_requests_refused_total{monitor="sheds",reason="overdue"} 0"#,
        r#"loopmon_requests_refused_total{monitor="sheds",reason="stalled"} 0"#,
    ];
    let series = || endpoint().series_of("sheds");
    let seen = || {
        let series = series();
        let has = |expected: &&str| series.iter().any(|line| line == expected);
        expected.iter().all(has)
    };
    eventually_or(seen, || format!("{:#?}", series()));
    subject.end(export);
}
