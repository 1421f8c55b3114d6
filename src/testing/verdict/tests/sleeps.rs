//! Sleeps that another thread's wait for a CPU may explain.

use super::*;
use crate::stack::StackTrace;
use crate::syscall::Syscall;

#[test]
fn a_sleep_counts_unless_a_thread_without_a_cpu_may_explain_it() {
    let crowded = || excused(Excuse::Crowded);
    let call = |name| {
        let is_named = |number: &u32| Syscall::new(*number).name() == Some(name);
        Cause::blocked((0..500).find(is_named).map(Syscall::new))
    };
    let (futex, mprotect) = (call("futex"), call("mprotect"));
    for (cause, slept, sleep, waited_there, expected) in [
        (futex, 80, 4, 9, blocks(futex, 90)),
        (futex, 80, 4, 60, crowded()),
        (BLOCKED, 80, 4, 60, crowded()),
        (Cause::OnCpu, 45, 4, 45, crowded()),
        (Cause::OnCpu, 40, 4, 40, blocks(Cause::OnCpu, 90)),
        (futex, 80, 40, 80, blocks(futex, 90)),
        (mprotect, 80, 40, 80, crowded()),
        (mprotect, 80, 40, 9, blocks(mprotect, 90)),
        (READ, 80, 4, 80, blocks(READ, 90)),
    ] {
        let mut test = Test::new();
        test.poll(90, 0, cause);
        let did = &mut test.polls[0].did;
        (did.slept, did.sleep, did.crowded) = (ms(slept), ms(sleep), ms(waited_there));
        let reports = [test.future(cause, 90)];
        assert_eq!(test.judge(&reports), expected, "{cause} {slept} {sleep}");
    }
}

#[test]
fn a_long_sleep_in_the_allocator_may_be_for_a_thread_without_a_cpu() {
    for (function, expected) in [
        ("__rustc::__rust_dealloc", excused(Excuse::Crowded)),
        ("std::sync::Mutex<T>::lock", blocks(BLOCKED, 90)),
    ] {
        let mut test = Test::new();
        test.poll(90, 0, BLOCKED);
        let did = &mut test.polls[0].did;
        (did.slept, did.sleep, did.crowded) = (ms(80), ms(80), ms(80));
        let mut report = test.future(BLOCKED, 90);
        let calls = [(function, None), ("app::work", Some("/src/app.rs"))];
        report.trace = Some(Arc::new(StackTrace::of(&calls, Some(1))));
        assert_eq!(test.judge(&[report]), expected, "{function}");
    }
}

#[test]
fn one_long_sleep_shows_between_two_reports() {
    let test = Test::new();
    let share = |lasted, share, turns| {
        let mut report = test.worker(Phase::Ongoing, BLOCKED, lasted, share);
        report.measured.share.as_mut().unwrap().turns = turns;
        report
    };
    let many = [share(50, [25, 1, 0], 9), share(100, [75, 1, 0], 25)];
    assert_eq!(longest_sleep(&many), Duration::from_millis(50) / 17);
    let one = [share(50, [25, 5, 0], 9), share(100, [75, 5, 0], 9)];
    assert_eq!(longest_sleep(&one), ms(50));
    assert_eq!(test.judge(&one), blocks(BLOCKED, 100));
    assert_eq!(test.judge(&many), excused(Excuse::Crowded));
    assert_eq!(longest_sleep(&[]), Duration::ZERO);
}

#[test]
fn a_sleep_explains_itself_only_if_it_is_longer_than_the_thread_waited_for_a_cpu() {
    for (waited, expected) in [(80, blocks(BLOCKED, 190)), (81, excused(Excuse::Crowded))] {
        let mut test = Test::new();
        test.poll(190, waited, BLOCKED);
        let did = &mut test.polls[0].did;
        (did.slept, did.sleep, did.crowded) = (ms(80), ms(80), ms(80));
        let reports = [test.future(BLOCKED, 190)];
        assert_eq!(test.judge(&reports), expected, "{waited}");
    }
    for (waited, expected) in [(45, blocks(BLOCKED, 160)), (60, excused(Excuse::Crowded))] {
        let test = Test::new();
        let first = test.worker(Phase::Ongoing, BLOCKED, 50, [25, 5, 0]);
        let slept = 50 + 20;
        let last = test.worker(
            Phase::Ongoing,
            BLOCKED,
            160,
            [slept + 5 + waited, 5, waited],
        );
        assert_eq!(test.judge(&[first, last]), expected, "{waited}");
    }
}
