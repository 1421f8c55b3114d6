//! However much there is, memory and time stay bounded.

use super::*;

#[test]
fn many_culprits_give_way_and_nothing_is_lost() {
    let (account, recorder) = account();
    for number in 0..10_000_u64 {
        let function = format!("app::f{number}");
        recorder.record(&by(ended(0, 0, 100), &function), None);
        // One that comes back, among many that do not.
        if number % 100 == 0 {
            recorder.record(&by(ended(0, 0, 200), "app::save"), None);
        }
    }
    let culprits = account.snapshot();
    assert_eq!(told(&culprits)[0], (SAVE.to_owned(), 100, 20_000));
    assert!((FEWEST..=MOST).contains(&culprits.len()));
    assert!(culprits.other().stalls > 9_000);
    assert_eq!(all(&culprits), (10_100, 1_020_000));
}

#[test]
fn many_places_are_not_all_listed() {
    let (account, recorder) = account();
    for number in 0..1_000 {
        let name = format!("connection {number}");
        recorder.record(&of(by(ended(0, 0, 100 + number), "app::save"), &name), None);
    }
    let culprits = account.snapshot();
    let save = culprits.iter().next().unwrap();
    assert_eq!((save.stalls, save.places.len()), (1_000, 16));
    assert_eq!(save.places[0].0, Place::Future("connection 999".into()));
}

#[test]
fn many_that_go_on_are_counted_at_their_end() {
    let (account, recorder) = account();
    let stalls: Vec<_> = (0..2 * MOST_OPEN)
        .map(|_| of(ended(0, 0, 300), "accept"))
        .collect();
    for stall in &stalls {
        recorder.record(&live(stall, 100), None);
    }
    assert_eq!(account.snapshot().all().stalls, MOST_OPEN as u64);
    stalls.iter().for_each(|stall| recorder.record(stall, None));
    assert_eq!(
        all(&account.snapshot()),
        (2 * MOST_OPEN as u64, 300 * 2 * MOST_OPEN as u128)
    );
}

#[test]
fn durations_without_end_do_not_overflow() {
    let (account, recorder) = account();
    let mut stall = on(ended(0, 0, 0), 7);
    stall.duration = Duration::MAX;
    recorder.record(&stall, None);
    let mut future = on(of(ended(0, 0, 0), "accept"), 7);
    future.duration = Duration::MAX;
    recorder.record(&future, None);
    stall.id = StallId::next();
    stall.began_at = DateTime::<chrono::Utc>::MAX_UTC;
    recorder.record(&stall, None);
    let culprits = account.snapshot();
    assert_eq!(culprits.all().total, Duration::MAX);
    assert!(culprits.to_string().ends_with("all"));
    assert!(culprits.folded().lines().count() == 1);
}

/// Microseconds that a report costs if so many culprits take turns. The best of some rounds.
fn report_cost(culprits: u64, rounds: usize) -> f64 {
    let (_, recorder) = account();
    let stalls: Vec<_> = (0..culprits)
        .map(|number| by(ended(0, 0, 100), &format!("app::orders::f{number}")))
        .collect();
    let round = || {
        let began = crate::clock::now();
        for stall in stalls.iter().cycle().take(4_096) {
            recorder.record(stall, None);
        }
        began.elapsed().as_secs_f64() * 1e6 / 4_096.0
    };
    (0..rounds).map(|_| round()).fold(f64::MAX, f64::min)
}

#[test]
fn a_report_costs_about_the_same_however_many_culprits_there_are() {
    let (few, many) = (report_cost(1, 5), report_cost(MOST as u64 - 1, 5));
    let new = report_cost(4_096, 5);
    println!("us a report: {few:.2} of one culprit, {many:.2} of many, {new:.2} of new ones");
    assert!(many < 100.0 * few, "{few} {many}");
    assert!(new < 1_000.0 * few, "{few} {new}");
}
