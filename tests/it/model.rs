//! No sequence of publish, subscribe, poll, drop, stop and restart loses or double-counts a sample:
//! loopmon against a model of each reader.

mod readers;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::support::paused_runtime;
use readers::{Step, follow};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Publish),
        3 => Just(Step::Subscribe),
        6 => any::<usize>().prop_map(Step::Poll),
        1 => any::<usize>().prop_map(Step::Drain),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => Just(Step::Stop),
        2 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn every_sample_is_received_or_counted_exactly_once(
        steps in steps(),
        capacity in 1_usize..6,
    ) {
        paused_runtime().block_on(follow(steps, capacity));
    }
}
