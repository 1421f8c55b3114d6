//! Any sequence of publish, subscribe, poll, drain, drop, stop and restart against the model of
//! `tests/it/model.rs`.
#![no_main]

#[path = "../../tests/it/model/readers.rs"]
mod readers;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../tests/it/support.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use readers::{Step, follow};

fuzz_target!(|input: (u8, Vec<(u8, u8)>)| {
    let (capacity, steps) = input;
    let steps = steps.into_iter().map(step).collect();
    let capacity = usize::from(capacity % 8) + 1;
    support::paused_runtime().block_on(follow(steps, capacity));
});

fn step((what, which): (u8, u8)) -> Step {
    let which = usize::from(which);
    match what % 16 {
        0..6 => Step::Publish,
        6 | 7 => Step::Subscribe,
        8..11 => Step::Poll(which),
        11 => Step::Drain(which),
        12 | 13 => Step::Drop(which),
        14 => Step::Stop,
        _ => Step::Restart,
    }
}
