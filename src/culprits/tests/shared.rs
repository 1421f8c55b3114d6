//! The time that a future and its worker are stuck together counts once.

use super::*;

#[test]
fn the_time_of_a_future_on_a_worker_is_the_futures() {
    let worker = on(by(ended(0, 10, 290), "app::load"), 7);
    let future = on(of(by(ended(0, 0, 280), "app::save"), "accept"), 7);
    let reports = [
        live(&worker, 100),
        live(&future, 100),
        live(&worker, 200),
        live(&future, 200),
        worker.clone(),
        future.clone(),
    ];
    let both_orders = [[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4]];
    for order in both_orders {
        let (account, recorder) = account();
        for report in order {
            recorder.record(&reports[report], None);
        }
        assert_eq!(told(&account.snapshot()), [(SAVE.to_owned(), 1, 280)]);
        // And so it is later.
        for at in 0..2 * KEPT {
            recorder.record(&ended(1, at as i64, 0), None);
        }
        assert_eq!(told(&account.snapshot())[0], (SAVE.to_owned(), 1, 280));
        assert_eq!(account.snapshot().all().total, millis(280));
    }
}

#[test]
fn what_is_left_of_the_worker_counts_if_it_is_a_stall_by_itself() {
    let (account, recorder) = account();
    let worker = on(by(ended(0, 0, 1_000), "app::load"), 7);
    for at in [100, 500] {
        recorder.record(
            &on(of(by(ended(0, at, 300), "app::save"), "accept"), 7),
            None,
        );
    }
    recorder.record(&worker, None);
    let apart = [(SAVE.to_owned(), 2, 600), (LOAD.to_owned(), 1, 400)];
    assert_eq!(told(&account.snapshot()), apart);
    // Others have nothing to do with it: another thread's, and that of another time.
    recorder.record(
        &on(of(by(ended(0, 0, 100), "app::other"), "accept"), 8),
        None,
    );
    recorder.record(
        &on(of(by(ended(0, 1_000, 100), "app::other"), "accept"), 7),
        None,
    );
    recorder.record(&of(by(ended(0, 0, 100), "app::other"), "accept"), None);
    assert_eq!(told(&account.snapshot())[..2], apart);
}

#[test]
fn a_future_within_a_worker_that_is_stuck_for_ever() {
    let (account, recorder) = account();
    let worker = on(by(ended(0, 0, 0), "app::load"), 7);
    recorder.record(&live(&worker, 100), None);
    for at in 0..500 {
        let at = 100 + at * 110;
        recorder.record(
            &on(of(by(ended(0, at, 110), "app::save"), "accept"), 7),
            None,
        );
    }
    recorder.record(&live(&worker, 55_200), None);
    let save = (SAVE.to_owned(), 500, 55_000);
    assert_eq!(told(&account.snapshot()), [save, (LOAD.to_owned(), 1, 200)]);
}
