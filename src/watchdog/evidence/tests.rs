use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn awake(millis: u64) -> AwakeInstant {
    AwakeInstant::START + ms(millis)
}

const LONG: Duration = Duration::from_millis(100);

fn at(millis: u64, state: char, on_cpu: u64, waited: u64) -> Evidence {
    let times = Times {
        on_cpu: ms(on_cpu),
        waited: ms(waited),
        turns: 9,
    };
    let syscall = (state != 'R').then(|| Syscall::new(230));
    Evidence::new(awake(millis), Some(state), Some(times), syscall)
}

fn asleep() -> Cause {
    Cause::Blocked {
        syscall: Some(Syscall::new(230)),
    }
}

#[test]
fn the_cause_is_what_the_thread_did_most_of_the_time() {
    for (first, last, cause) in [
        (at(0, 'S', 5, 1), at(50, 'S', 5, 1), asleep()),
        (at(0, 'D', 5, 1), at(50, 'D', 6, 2), asleep()),
        (at(0, 'R', 5, 1), at(50, 'S', 15, 2), asleep()),
        (at(0, 'R', 5, 1), at(50, 'R', 53, 2), Cause::OnCpu),
        (at(0, 'S', 5, 1), at(50, 'S', 45, 2), Cause::OnCpu),
        (at(0, 'R', 5, 1), at(50, 'R', 15, 40), Cause::Starved),
        // It would have been as long on an idle host.
        (at(0, 'R', 5, 1), at(300, 'R', 5 + 100, 190), Cause::OnCpu),
        (at(0, 'S', 5, 1), at(900, 'S', 5 + 100, 9), asleep()),
        (at(0, 'R', 5, 1), at(50, 'R', 6, 1), Cause::Starved),
        (
            at(0, 'S', 5, 1),
            at(50, 'R', 6, 1),
            Cause::Blocked { syscall: None },
        ),
        (at(0, 't', 5, 1), at(50, 'R', 5, 1), Cause::Unknown),
    ] {
        assert_eq!(last.cause_since(first, LONG), cause, "{first:?} {last:?}");
    }
}

#[test]
fn one_snapshot_shows_no_more_than_that_it_slept() {
    let cause = |first: Evidence, began, later| first.cause_afterwards(awake(began), later, LONG);
    assert_eq!(cause(at(9, 'S', 5, 1), 9, at(60, 'R', 6, 1)), asleep());
    assert_eq!(
        cause(at(9, 'S', 5, 1), 10, at(60, 'R', 6, 1)),
        Cause::Unknown
    );
    // It may have slept since.
    assert_eq!(
        cause(at(9, 'R', 5, 1), 9, at(60, 'S', 6, 1)),
        Cause::Unknown
    );
    assert_eq!(cause(at(9, 'R', 5, 1), 9, at(60, 'S', 45, 5)), Cause::OnCpu);
    assert_eq!(
        cause(at(9, 'R', 5, 1), 9, at(60, 'S', 10, 40)),
        Cause::Starved
    );
    assert_eq!(cause(at(9, 'R', 5, 1), 9, Evidence::Gone), Cause::Unknown);
    assert_eq!(cause(Evidence::None, 9, at(60, 'R', 6, 1)), Cause::Unknown);
}

#[test]
fn a_thread_that_is_held_or_gone_is_told_apart() {
    assert_eq!(at(0, 't', 5, 1), Evidence::Held);
    assert_eq!(at(0, 'T', 5, 1), Evidence::Held);
    assert_eq!(at(0, 'Z', 5, 1), Evidence::Gone);
    if cfg!(target_os = "linux") {
        assert_eq!(
            Evidence::of(Some(u32::MAX), AwakeInstant::START),
            Evidence::Gone
        );
    }
}

#[test]
fn a_kernel_without_the_files_gives_no_evidence() {
    let seen = |times| Evidence::new(AwakeInstant::START, Some('S'), times, None);
    assert_eq!(seen(None), Evidence::None);
    let times = Times {
        on_cpu: ms(1),
        waited: ms(2),
        turns: 3,
    };
    let cause = seen(Some(times)).cause_afterwards(AwakeInstant::START, Evidence::None, LONG);
    assert_eq!(cause, Cause::Blocked { syscall: None });
}

#[test]
fn a_turn_in_which_the_thread_was_only_asked_is_none() {
    let asleep = |millis, turns, interruptions| {
        let mut evidence = at(millis, 'S', 5, 1);
        if let Evidence::Seen(snapshot) = &mut evidence {
            snapshot.times.turns = turns;
            snapshot.interruptions = interruptions;
        }
        evidence
    };
    for (asked_before, asked_since, expected) in [
        (Some(3), Some(4), 1),
        (Some(usize::MAX), Some(1), 0),
        (None, Some(4), 2),
        (Some(3), Some(9), 0),
    ] {
        let share = asleep(50, 11, asked_since).share_since(asleep(0, 9, asked_before));
        assert_eq!(share.map(|share| share.turns), Some(expected));
    }
}

#[test]
fn a_thread_may_wait_while_it_does_not_sleep() {
    for (last, on_cpu, waited) in [
        (at(50, 'S', 15, 11), 10, 10),
        // It has run since the last tick of the kernel, for all that is known.
        (at(50, 'R', 45, 1), 50, 0),
        // It may be waiting since 29 ms.
        (at(50, 'R', 15, 12), 10, 40),
    ] {
        let share = last.share_since(at(0, 'R', 5, 1));
        let [passed, on_cpu, waited] = [50, on_cpu, waited].map(|millis| ms(millis).into());
        let expected = Share {
            passed,
            on_cpu,
            turns: 0,
            waited,
        };
        assert_eq!(share, Some(expected), "{last:?}");
    }
    let first = at(0, 'S', 5, 1);
    assert_eq!(Evidence::Held.share_since(first), None);
    let live = at(50, 'R', 15, 12).share_since(first).unwrap();
    let over = at(70, 'S', 30, 16).share_in(live, first);
    assert_eq!((over.passed, over.waited), (live.passed, ms(15).into()));
    assert_eq!(Evidence::Gone.share_in(live, first), live);
}
