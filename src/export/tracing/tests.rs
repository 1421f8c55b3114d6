use std::io;
use std::sync::Arc;

use ::tracing::subscriber::with_default;
use ::tracing::{Level, Subscriber};
use chrono::DateTime;
use tracing_subscriber::fmt::MakeWriter;

use super::limit::BURST;
use super::*;
use crate::stall::{Cause, OsThread, Place, StallId};
use crate::syscall::Syscall;
use crate::watchdog::Pause;

/// The text that a subscriber has written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn subscriber(&self, level: Level) -> impl Subscriber + Send + Sync {
        tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(self.clone())
            .finish()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

fn stall(phase: Phase, began: i64) -> Stall {
    Stall {
        id: StallId::of(&(3, began)),
        began_at: DateTime::from_timestamp(began, 0).unwrap(),
        duration: Duration::from_millis(1_500),
        ..Stall::of(3, phase)
    }
}

#[test]
fn a_stall_is_an_event_with_all_that_is_known_of_it() {
    let log = Log::default();
    let mut exporter = ToSubscriber::new(&Name::new("main", 0), clock::now());
    let mut full = stall(Phase::Started, 0);
    full.thread = Some(OsThread::current());
    full.cause = Cause::Blocked {
        syscall: Some(Syscall::new(9_999)),
    };
    full.missed = 2;
    let calls = [
        ("read", None),
        ("app::save::{{closure}}", Some("/src/orders.rs")),
    ];
    full.trace = Some(Arc::new(StackTrace::of(&calls, Some(1))));
    with_default(log.subscriber(Level::WARN), || {
        exporter.stall(&full, clock::now());
        exporter.stall(&stall(Phase::Ended, 0), clock::now());
    });
    let text = log.text();
    let (started, _) = text.split_once('\n').unwrap();
    let ended = text.lines().last().unwrap();
    assert!(
        started.contains("WARN loopmon::stall: worker stalled "),
        "{text}"
    );
    for field in [
        r#" monitor="main""#,
        " worker=3",
        &format!(" stall={}", full.id),
        r#" phase="started""#,
        " duration_seconds=1.5",
        r#" cause="blocked""#,
        " syscall=system call 9999",
        " thread.name=",
        " began_at=1970-01-01 00:00:00 UTC",
        " missed=2",
        " culprit=app::save at /src/orders.rs:1 stack=",
    ] {
        assert!(started.contains(field), "{field} in {started}");
    }
    let expected = format!(
        "worker was stalled monitor=\"main\" worker=3 stall={} phase=\"ended\" \
         duration_seconds=1.5 cause=\"on_cpu\" began_at=1970-01-01 00:00:00 UTC",
        full.id
    );
    assert!(ended.ends_with(&expected), "{ended}");
}

#[test]
fn samples_are_logged_at_trace() {
    for (level, expected) in [
        (Level::DEBUG, ""),
        (
            Level::TRACE,
            "TRACE loopmon::sample: sample monitor=\"main\" lag_seconds=0.25 tasks=7 queue_depth=0 busy=0.0 missed=0\n",
        ),
    ] {
        let log = Log::default();
        let mut exporter = ToSubscriber::new(&Name::new("main", 0), clock::now());
        let sample = Sample::new(Duration::from_millis(250), 7, clock::utc_now());
        with_default(log.subscriber(level), || {
            exporter.sample(&sample, clock::now());
        });
        assert_eq!(log.text(), expected);
    }
}

#[test]
fn monitors_of_one_name_have_an_index() {
    let log = Log::default();
    let mut second = ToSubscriber::new(&Name::new("main", 1), clock::now());
    with_default(log.subscriber(Level::WARN), || {
        second.stall(&stall(Phase::Ended, 0), clock::now());
    });
    assert!(
        log.text().contains(r#" monitor="main" index=1 worker=3 "#),
        "{}",
        log.text()
    );
}

#[test]
fn many_stalls_are_logged_in_part_with_a_count_of_the_rest() {
    let log = Log::default();
    let t0 = clock::now();
    let after = |seconds| t0 + Duration::from_secs(seconds);
    let mut exporter = ToSubscriber::new(&Name::new("main", 0), t0);
    with_default(log.subscriber(Level::WARN), || {
        for began in 0..20 {
            for phase in [Phase::Started, Phase::Ended] {
                exporter.stall(&stall(phase, began), t0);
            }
        }
        assert_eq!(log.text().lines().count(), 20, "{}", log.text());
        assert!(exporter.wants_tick());
        exporter.tick(after(1));

        // Room for one more, which is logged to its end.
        exporter.stall(&stall(Phase::Started, 20), after(1));
        exporter.stall(&stall(Phase::Ongoing, 20), after(1));
        exporter.stall(&stall(Phase::Ended, 20), after(1));
        exporter.stall(&stall(Phase::Ended, 21), after(1));
        let text = log.text();
        let lines: Vec<&str> = text.lines().skip(20).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with(" suppressed=20"), "{text}");
        assert!(!lines[2].contains("suppressed"), "{text}");

        // Few again.
        exporter.tick(after(10));
        assert_eq!(log.text().lines().count(), 23);
        exporter.tick(after(11));
        exporter.tick(after(12));
    });
    let text = log.text();
    assert_eq!(text.lines().count(), 24, "{text}");
    assert!(
        text.ends_with("stalls not logged monitor=\"main\" suppressed=1\n"),
        "{text}"
    );
    assert!(!exporter.wants_tick());
}

#[test]
fn a_long_stall_is_logged_however_many_short_ones_there_are() {
    let log = Log::default();
    let now = clock::now();
    let mut exporter = ToSubscriber::new(&Name::new("main", 0), now);
    with_default(log.subscriber(Level::WARN), || {
        for began in 0..20 {
            exporter.stall(&stall(Phase::Ended, began), now);
        }
        exporter.stall(&stall(Phase::Started, 20), now);
        let before = log.text().lines().count();
        exporter.stall(&stall(Phase::Ongoing, 20), now);
        exporter.stall(&stall(Phase::Ended, 20), now);
        assert_eq!(log.text().lines().count(), before + 2, "{}", log.text());
    });
}

#[test]
fn nothing_suppressed_is_forgotten_at_the_end() {
    let log = Log::default();
    let mut exporter = ToSubscriber::new(&Name::new("main", 0), clock::now());
    with_default(log.subscriber(Level::WARN), || {
        for began in 0..13 {
            exporter.stall(&stall(Phase::Ended, began), clock::now());
        }
        exporter.detached();
    });
    let text = log.text();
    assert!(text.ends_with("suppressed=3\n"), "{text}");
}

#[test]
fn a_pause_is_logged_once() {
    let log = Log::default();
    let logged = Mutex::default();
    let mut pauses = Pauses {
        throttled: 0,
        count: 0,
        total: Duration::ZERO,
        last: None,
    };
    with_default(log.subscriber(Level::INFO), || {
        log_pauses(pauses, &logged);
        assert_eq!(log.text(), "");
        pauses.count = 2;
        pauses.total = Duration::from_millis(1_250);
        pauses.last = Some(Pause {
            duration: Duration::from_millis(250),
            ended_at: DateTime::from_timestamp(7, 0).unwrap(),
        });
        log_pauses(pauses, &logged);
        log_pauses(pauses, &logged);
    });
    let expected = " INFO loopmon::pause: the process did not run pauses=2 duration_seconds=1.25 \
                    ended_at=1970-01-01 00:00:07 UTC\n";
    assert_eq!(log.text(), expected);
}

proptest::proptest! {
    /// Whatever the reports and their times: each is logged or counted, and no more are logged than may be.
    #[test]
    fn each_report_is_logged_or_counted(
        steps in proptest::collection::vec((0..3_000_u64, 0..4_usize, 0..3_usize), 0..200),
    ) {
        let t0 = clock::now();
        let mut now = t0;
        let mut limit = Limit::new(now);
        let (mut logged, mut new, mut counted) = (0, 0, 0);
        let mut began = [0; 4];
        let mut passed = [false; 4];
        for &(millis, worker, phase) in &steps {
            now += Duration::from_millis(millis);
            let phase = [Phase::Started, Phase::Ongoing, Phase::Ended][phase];
            let mut report = stall(phase, began[worker]);
            report.id = StallId::of(&(worker, began[worker]));
            report.place = Place::Worker(worker);
            let admitted = limit.admit(&report, now);
            if let Some(suppressed) = admitted {
                logged += 1;
                new += usize::from(!passed[worker] && phase != Phase::Ongoing);
                counted += suppressed;
            }
            proptest::prop_assert!(!passed[worker] || admitted.is_some());
            passed[worker] = admitted.is_some() && phase != Phase::Ended;
            began[worker] += i64::from(phase == Phase::Ended);
        }
        counted += limit.take_rest().unwrap_or(0);
        proptest::prop_assert_eq!(logged + counted, steps.len() as u64);
        let most = u64::from(BURST) + (now - t0).as_secs();
        proptest::prop_assert!(new as u64 <= most);
    }
}
