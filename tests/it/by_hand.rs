//! Users can make stalls and summaries by hand for their own tests, and serialise them.

use std::sync::Arc;

use loopmon::chrono::DateTime;
use loopmon::{Cause, OsThread, Phase, Place, Stall, Syscall};

use crate::support::millis;

fn stall() -> Stall {
    let began_at = DateTime::from_timestamp(7, 0).unwrap();
    let cause = Cause::blocked(Some(Syscall::new(9_999)));
    let mut stall = Stall::new(
        Phase::Ongoing,
        Place::Worker(3),
        cause,
        began_at,
        millis(1_500),
    );
    stall.monitor = Some("ingest".into());
    stall.thread = Some(OsThread::new(Some(17), Some("tokio-rt-worker".into())));
    stall.missed = 2;
    stall
}

#[test]
fn a_stall_made_by_hand_equals_one_that_is_reported() {
    let stall = stall();
    assert_eq!(
        stall.to_string(),
        "ingest: worker 3 is stuck for 1.500 s: blocked in system call 9999, \
         on thread tokio-rt-worker (17), since 00:00:07.000"
    );
    assert_eq!(stall, stall.clone());
    let mut other = stall.clone();
    other.phase = Phase::Ended;
    assert_ne!(stall, other);
    let bare = Stall::new(
        Phase::Ended,
        Place::Worker(0),
        Cause::OnCpu,
        DateTime::UNIX_EPOCH,
        millis(1),
    );
    assert_eq!((bare.monitor, bare.thread, bare.task), (None, None, None));
    assert_eq!((bare.trace, bare.missed), (None, 0));
}

#[test]
fn threads_are_compared_by_what_they_show() {
    let named = |id, name: &str| OsThread::new(Some(id), Some(Arc::from(name)));
    assert_eq!(named(1, "a"), named(1, "a"));
    assert_ne!(named(1, "a"), named(2, "a"));
    assert_ne!(named(1, "a"), named(1, "b"));
}

#[cfg(feature = "histogram")]
#[test]
fn a_summary_made_by_hand_is_as_one_that_is_given() {
    let mut summary = loopmon::LagSummary::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, 50);
    summary.max = millis(120);
    assert_eq!(
        summary.to_string(),
        "event loop lag of 50 samples: min 0.000, mean 0.000, p50 0.000, p90 0.000, p99 0.000, \
         p99.9 0.000, max 0.120, missed 0"
    );
}

#[cfg(feature = "serde")]
mod serde {
    use super::*;

    #[test]
    fn a_stall_is_read_as_it_was_written() {
        let stall = stall();
        let json = serde_json::to_value(&stall).unwrap();
        let id: u64 = stall.id.to_string().parse().unwrap();
        let expected = serde_json::json!({
            "id": id,
            "phase": "ongoing",
            "monitor": "ingest",
            "place": {"worker": 3},
            "thread": {"id": 17, "name": "tokio-rt-worker"},
            "task": null,
            "began_at": "1970-01-01T00:00:07Z",
            "duration": {"secs": 1, "nanos": 500_000_000},
            "cause": {"blocked": {"syscall": {"number": 9_999}}},
            "trace": null,
            "missed": 2,
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Stall>(json).unwrap(), stall);
    }

    #[test]
    fn what_is_not_known_may_be_left_out() {
        let mut bare = Stall::new(
            Phase::Ended,
            Place::Worker(0),
            Cause::ManyPolls,
            DateTime::UNIX_EPOCH,
            millis(1),
        );
        let json = r#"{"phase": "ended", "place": {"worker": 0}, "began_at": "1970-01-01T00:00:00Z",
                       "duration": {"secs": 0, "nanos": 1000000}, "cause": "many_polls"}"#;
        let read: Stall = serde_json::from_str(json).unwrap();
        // The stall has an id of its own.
        assert_ne!(read.id, bare.id);
        bare.id = read.id;
        assert_eq!(read, bare);
    }

    #[tokio::test]
    async fn a_task_is_written_as_its_number() {
        let mut stall = stall();
        let task = tokio::spawn(async { tokio::task::id() }).await.unwrap();
        stall.task = Some(task);
        let json = serde_json::to_value(&stall).unwrap();
        assert_eq!(json["task"].to_string(), task.to_string());
        let read: Stall = serde_json::from_value(json).unwrap();
        assert_eq!(read.task, None);
        stall.task = None;
        assert_eq!(read, stall);
    }

    #[test]
    fn each_cause_is_called_as_the_exporters_call_it() {
        for (cause, name) in [
            (Cause::OnCpu, "on_cpu"),
            (Cause::ManyPolls, "many_polls"),
            (Cause::Unattended, "unattended"),
            (Cause::Starved, "starved"),
            (Cause::Unknown, "unknown"),
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), name);
        }
    }

    #[test]
    fn pauses_are_read_as_they_were_written() {
        let pauses = loopmon::pauses();
        let json = serde_json::to_string(&pauses).unwrap();
        assert_eq!(
            serde_json::from_str::<loopmon::Pauses>(&json).unwrap(),
            pauses
        );
    }

    #[cfg(feature = "histogram")]
    #[test]
    fn a_summary_is_read_as_it_was_written() {
        let mut summary = loopmon::LagSummary::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH, 50);
        summary.p999 = millis(120);
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            serde_json::from_str::<loopmon::LagSummary>(&json).unwrap(),
            summary
        );
    }
}
