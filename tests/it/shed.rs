//! Load shedding: the policy in virtual time, and the layer around the services of the frameworks.

mod axum;
mod hyper;
mod policy;
mod service;
mod tonic;

use loopmon::Monitor;
use loopmon::shed::{Law, Policy};
use loopmon::{Hysteresis, SleepSampler};

use crate::support::{Hand, manual, millis, paused_runtime};

/// A monitor of the current runtime, every 10 ms, whose lag the test sets.
fn by_hand() -> (Hand, Monitor) {
    let (hand, sampler) = manual();
    let builder = Monitor::builder().interval(millis(10)).sampler(sampler);
    (hand, builder.install().unwrap())
}

/// Refuses everything from 20 ms on, until 10 ms.
fn all_or_nothing() -> Law {
    Law::threshold(Hysteresis::new(millis(20), millis(10)).unwrap())
}

/// Runs a test with a policy that refuses everything, right after it has begun to.
fn overloaded<F: Future>(test: impl FnOnce(Policy, Hand) -> F) -> F::Output {
    paused_runtime().block_on(async {
        let (hand, monitor) = by_hand();
        let policy = Policy::with_law(&monitor, all_or_nothing());
        assert!(!policy.is_overloaded());
        hand.publish(millis(50)).await;
        assert!(policy.is_overloaded());
        test(policy, hand).await
    })
}

/// A monitor of the current runtime that measures.
fn measuring() -> Monitor {
    Monitor::builder()
        .interval(millis(10))
        .sampler(SleepSampler)
        .install()
        .unwrap()
}
