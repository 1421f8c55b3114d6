use chrono::DateTime;

use super::*;
use crate::stack::StackCapture;
use crate::stall::Phase;

const LASTED: Duration = Duration::from_millis(120);

/// What is denied, with a list of what is allowed.
fn deny(allowed: Vec<Allowed>) -> Settings {
    Settings {
        threshold: Duration::from_millis(50),
        allowed,
        denies_unused: false,
        stack_capture: StackCapture::new(),
    }
}

fn path(prefix: &str) -> Vec<Allowed> {
    vec![Allowed::path(prefix)]
}

fn trace(function: &str) -> Option<Arc<StackTrace>> {
    let calls = [
        ("read", None),
        (function, Some("/src/shop.rs")),
        ("shop::main", Some("/src/main.rs")),
    ];
    Some(Arc::new(StackTrace::of(&calls, Some(1))))
}

fn seen(verdict: Verdict, place: Place, trace: Option<Arc<StackTrace>>) -> Seen {
    let mut stall = Stall::new(
        Phase::Ended,
        place,
        Cause::OnCpu,
        DateTime::UNIX_EPOCH,
        LASTED,
    );
    stall.trace = trace;
    Seen {
        verdict,
        place: stall.place.clone(),
        reports: vec![stall],
    }
}

fn blocked(place: Place, function: &str) -> Seen {
    let verdict = Verdict::Blocks {
        cause: Cause::Blocked { syscall: None },
        lasted: LASTED,
    };
    seen(verdict, place, trace(function))
}

fn excused(excuse: Excuse) -> Seen {
    seen(Verdict::Excused(excuse), Place::Worker(0), None)
}

fn found(settings: &Settings, seen: Vec<Seen>) -> (bool, String) {
    let findings = Findings::new(settings, seen, 0);
    (findings.fail(), findings.to_string())
}

#[test]
fn every_culprit_is_told_once() {
    let settings = deny(path("sqlx::migrate"));
    let future = Place::Future("shop::checkout".into());
    let findings = found(
        &settings,
        vec![
            blocked(future.clone(), "shop::load"),
            excused(Excuse::Starved),
            blocked(Place::Worker(1), "shop::load"),
            excused(Excuse::SamePoll),
            blocked(Place::Worker(1), "shop::save"),
        ],
    );
    let expected = "\
the code under test blocked for 50ms or more, in 2 places

shop::load at /src/shop.rs:1
    2 times, for 0.240 s in all and 0.120 s at most: blocked in the kernel; future shop::checkout, worker 1
   0: read (app+0x10)
>  1: shop::load
             at /src/shop.rs:1
   2: shop::main
             at /src/main.rs:1

shop::save at /src/shop.rs:1
    once, for 0.120 s: blocked in the kernel; worker 1
   0: read (app+0x10)
>  1: shop::save
             at /src/shop.rs:1
   2: shop::main
             at /src/main.rs:1

not counted: 1 that waited for a CPU
allowed, and not seen: \"sqlx::migrate\"";
    assert_eq!(findings, (true, expected.to_owned()));
}

#[test]
fn a_lock_that_tokio_takes_is_not_denied_and_others_are() {
    let findings = |function| found(&deny(vec![]), vec![blocked(Place::Worker(0), function)]);
    for lock in [
        "tokio::loom::std::mutex::Mutex<T>::lock",
        "<tokio::loom::std::mutex::Mutex<()>>::lock",
        "tokio::loom::std::parking_lot::RwLock<T>::read",
    ] {
        let (fails, _) = findings(lock);
        assert!(!fails, "{lock}");
    }
    for other in [
        "std::sync::poison::mutex::Mutex<T>::lock",
        "tokio::loom::std::parking_lot::Condvar::wait",
        "tokio::sync::mutex::Mutex<T>::blocking_lock",
    ] {
        let (fails, _) = findings(other);
        assert!(fails, "{other}");
    }
}

#[test]
fn nothing_fails_by_what_is_excused() {
    for excuse in [
        Excuse::Starved,
        Excuse::Unattended,
        Excuse::Unknown,
        Excuse::Region,
        Excuse::SamePoll,
    ] {
        assert!(!found(&deny(Vec::new()), vec![excused(excuse)]).0);
    }
    assert!(!found(&deny(Vec::new()), Vec::new()).0);
}

#[test]
fn a_list_allows_by_any_function_by_the_future_and_by_the_cause() {
    let shop = || vec![blocked(Place::Worker(0), "<&shop::Db as sqlx::Run>::run")];
    for (settings, fails) in [
        (deny(path("shop::Db")), false),
        (deny(path("sqlx::")), false),
        (deny(path("shop::main")), false),
        (deny(path("sh")), false),
        (deny(path("shop-")), true),
        (deny(path("main")), true),
        (deny(path("")), true),
        (deny(vec![Allowed::Cause(Cause::OnCpu)]), true),
        (deny(vec![Allowed::Cause(Cause::blocked(None))]), false),
        (
            deny(vec![Allowed::Cause(Cause::blocked(Some(
                crate::Syscall::new(9_999),
            )))]),
            true,
        ),
    ] {
        assert_eq!(found(&settings, shop()).0, fails, "{settings:?}");
    }
    let future = || vec![blocked(Place::Future("shop::a_b".into()), "x::y")];
    assert!(!found(&deny(path("shop::a-b")), future()).0);
    assert!(found(&deny(path("shop::a-c")), future()).0);
}

#[test]
fn an_entry_that_matches_nothing_fails_on_request() {
    let used = Settings {
        denies_unused: true,
        ..deny(path("shop::"))
    };
    let shop = vec![blocked(Place::Worker(0), "shop::load")];
    assert!(!found(&used, shop).0);
    let (fails, text) = found(&used, Vec::new());
    assert!(
        fails && text.ends_with("allowed, and not seen: \"shop::\""),
        "{text}"
    );
}

#[test]
fn without_a_stack_nothing_is_blamed_that_may_be_allowed() {
    let bare = || {
        let mut bare = blocked(Place::Future("shop::checkout".into()), "");
        bare.reports[0].trace = None;
        vec![bare]
    };
    let (fails, text) = found(&deny(Vec::new()), bare());
    assert!(
        fails && text.contains("\n\nfuture shop::checkout\n    once, for 0.120 s"),
        "{text}"
    );
    assert!(!found(&deny(path("sqlx::")), bare()).0);
    assert!(found(&deny(vec![Allowed::Cause(Cause::OnCpu)]), bare()).0);
    let short = |allowed| Settings {
        threshold: Duration::from_millis(1),
        ..deny(allowed)
    };
    assert!(found(&short(path("sqlx::")), bare()).0);
    assert!(!found(&short(path("shop::check")), bare()).0);
}

#[test]
fn a_stack_from_after_the_end_is_none() {
    let mut late = blocked(Place::Worker(0), IS_OVER);
    let mut early = late.reports[0].clone();
    late.reports[0].phase = Phase::Ongoing;
    assert!(trace_of(&late.reports).is_none());
    early.trace = trace("shop::load");
    late.reports.insert(0, early);
    let trace = trace_of(&late.reports).unwrap();
    assert_eq!(
        trace.culprit().and_then(|it| it.function()),
        Some("shop::load")
    );
}

#[test]
fn a_panic_that_prints_its_backtrace_is_no_block() {
    let panics = vec![blocked(Place::Worker(0), PANICS)];
    let (fails, text) = found(&deny(Vec::new()), panics);
    assert!(
        !fails && text.contains("not counted: 1 in a panic"),
        "{text}"
    );
}
