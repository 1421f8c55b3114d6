//! What is refused, why, and for how long.

use std::time::Duration;

use loopmon::shed::Priority::{Critical, Normal, Optional};
use loopmon::shed::{Law, Policy, Reason};
use loopmon::{Monitor, WakeSampler};
use tokio::time::advance;

use super::{all_or_nothing, by_hand, measuring, overloaded};
use crate::support::{millis, paused_runtime, settle};

#[test]
fn nothing_is_refused_until_the_lag_reaches_the_target() {
    paused_runtime().block_on(async {
        let (hand, monitor) = by_hand();
        let policy = Policy::new(&monitor);
        for lag in [0, 1, 4, 4, 4, 4] {
            for _ in 0..100 {
                assert_eq!(policy.admit(Optional), Ok(()));
            }
            advance(millis(10)).await;
            hand.publish(millis(lag)).await;
            assert!(!policy.is_overloaded());
        }
        hand.publish(Law::DEFAULT_TARGET).await;
        assert!(policy.is_overloaded());
        assert_eq!(policy.law(), Law::default());
    });
}

#[test]
fn the_optional_goes_first_and_the_critical_never() {
    overloaded(async |policy, _| {
        for _ in 0..100 {
            let refusal = policy.admit(Normal).unwrap_err();
            assert_eq!(refusal.reason(), Reason::Lag);
            assert!(policy.admit(Optional).is_err());
            assert_eq!(policy.admit(Critical), Ok(()));
        }
        assert!((policy.share_refused() - 1.0).abs() < 1e-9);
    });
    paused_runtime().block_on(async {
        let (hand, monitor) = by_hand();
        // At 1.1 times the target a tenth is refused.
        let policy = Policy::with_law(&monitor, Law::proportional(millis(100), Duration::ZERO));
        advance(millis(10)).await;
        hand.publish(millis(110)).await;
        assert!((policy.share_refused() - 0.1).abs() < 1e-3);
        assert!((0..100).all(|_| policy.admit(Optional).is_err()));
        let refused = (0..10_000).filter(|_| policy.admit(Normal).is_err());
        assert!((700..1_300).contains(&refused.count()));
    });
}

#[test]
fn a_clone_knows_the_same() {
    overloaded(async |policy, hand| {
        let clone = policy.clone();
        assert!(clone.is_overloaded());
        hand.publish(Duration::ZERO).await;
        assert!(policy.admit(Normal).is_ok() && clone.admit(Optional).is_ok());
    });
}

#[test]
fn while_no_sample_comes_everything_is_refused_for_that() {
    paused_runtime().block_on(async {
        let (hand, monitor) = by_hand();
        let policy = Policy::new(&monitor);
        hand.publish(Duration::ZERO).await;
        // Not overdue by the target.
        advance(millis(14)).await;
        assert_eq!(policy.admit(Normal), Ok(()));
        advance(millis(1)).await;
        let refusal = policy.admit(Normal).unwrap_err();
        assert_eq!(refusal.reason(), Reason::Overdue);
        hand.publish(Duration::ZERO).await;
        assert_eq!(policy.admit(Optional), Ok(()));
    });
}

/// Counts the requests that are admitted in so many milliseconds, one asked for in each.
async fn admitted(policy: &Policy, during: u64) -> usize {
    let mut admitted = 0;
    for _ in 0..during {
        admitted += usize::from(policy.admit(Normal).is_ok());
        advance(millis(1)).await;
    }
    admitted
}

#[test]
fn it_never_refuses_everything_for_longer_than_the_probe_interval() {
    assert_eq!(Policy::PROBE_INTERVAL, millis(100));
    overloaded(async |policy, hand| {
        let mut total = 0;
        for _ in 0..600 {
            // Late, over and over, or overdue at the end.
            hand.publish(Duration::from_secs(5)).await;
            total += admitted(&policy, 100).await;
        }
        assert!((599..=601).contains(&total), "{total}");
        let total = admitted(&policy, 60_000).await;
        assert!((599..=601).contains(&total), "{total}");
    });
}

#[test]
fn the_probe_is_one_request_even_if_all_come_at_once() {
    overloaded(async |policy, _| {
        advance(Duration::from_secs(60)).await;
        let admitted = (0..1_000).filter(|_| policy.admit(Normal).is_ok());
        assert_eq!(admitted.count(), 1);
    });
}

#[test]
fn after_a_stop_everything_is_admitted() {
    overloaded(async |policy, hand| {
        hand.publish(Duration::from_secs(1)).await;
        assert!(policy.admit(Normal).is_err());
        drop(hand);
        policy_monitor_stops(&policy).await;
    });
}

async fn policy_monitor_stops(policy: &Policy) {
    policy.monitor().stop();
    assert_eq!(policy.admit(Optional), Ok(()));
    advance(Duration::from_secs(5)).await;
    assert!(!policy.is_overloaded());
    assert_eq!(policy.admit(Optional), Ok(()));
}

#[test]
fn after_a_restart_it_begins_afresh() {
    paused_runtime().block_on(async {
        let monitor = measuring();
        let policy = Policy::with_law(&monitor, all_or_nothing());
        tokio::time::sleep(millis(50)).await;
        // A jump of the clock is lag.
        advance(millis(500)).await;
        settle().await;
        assert!(policy.is_overloaded());
        monitor.stop();
        monitor.install().unwrap();
        for _ in 0..100 {
            assert_eq!(policy.admit(Optional), Ok(()));
        }
        tokio::time::sleep(millis(50)).await;
        assert_eq!(policy.admit(Optional), Ok(()));
        advance(millis(500)).await;
        assert!(policy.admit(Normal).is_err());
    });
}

#[test]
fn a_policy_may_be_older_than_the_installation_and_outlive_the_runtime() {
    let monitor = Monitor::builder()
        .interval(millis(10))
        .sampler(WakeSampler::new())
        .build()
        .unwrap();
    let policy = Policy::new(&monitor);
    assert_eq!(policy.admit(Optional), Ok(()));
    let runtime = paused_runtime();
    monitor.install_on(runtime.handle()).unwrap();
    drop(runtime);
    assert!(!monitor.is_running());
    std::thread::sleep(millis(50));
    for _ in 0..20 {
        assert_eq!(policy.admit(Optional), Ok(()));
    }
}

#[test]
fn on_the_paused_clock_of_a_test_nothing_is_refused() {
    paused_runtime().block_on(async {
        let policy = Policy::new(&measuring());
        for _ in 0..100 {
            tokio::time::sleep(millis(7)).await;
            assert_eq!(policy.admit(Optional), Ok(()));
        }
        // The test itself may take its time.
        std::thread::sleep(millis(60));
        assert_eq!(policy.admit(Optional), Ok(()));
    });
}
