use std::sync::mpsc;
use std::task::Wake;
use std::thread;

use super::*;

/// Reports that it is called, then blocks until the test lets it go on.
struct Slow {
    woken: mpsc::Sender<()>,
    goes_on: Mutex<mpsc::Receiver<()>>,
}

impl Wake for Slow {
    fn wake(self: Arc<Slow>) {
        self.woken.send(()).unwrap();
        self.goes_on.lock().unwrap().recv().ok();
    }
}

fn foreign() -> (
    Arc<ForeignWaker>,
    Waker,
    mpsc::Receiver<()>,
    mpsc::Sender<()>,
) {
    let (woken, wakes) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let goes_on = Mutex::new(goes_on);
    let waker = Waker::from(Arc::new(Slow { woken, goes_on }));
    (WAKER_THREADS.get().admit().unwrap(), waker, wakes, go_on)
}

fn wake(waker: &Arc<ForeignWaker>) {
    let wakers = [Arc::clone(waker)].into_iter();
    WAKER_THREADS.get().take_over(wakers);
}

#[test]
fn a_stuck_waker_is_not_called_again_and_delays_no_other() {
    let (stuck, waker, wakes_of_stuck, release) = foreign();
    stuck.set(waker.clone());
    wake(&stuck);
    wakes_of_stuck.recv().unwrap();

    let (other, others, wakes, go_on) = foreign();
    drop(go_on);
    for _ in 0..3 {
        stuck.set(waker.clone());
        other.set(others.clone());
        wake(&stuck);
        wake(&other);
        wakes.recv().unwrap();
    }
    assert!(wakes_of_stuck.try_recv().is_err());
    // Missed calls are made up by one.
    drop(release);
    wakes_of_stuck.recv().unwrap();
    WAKER_THREADS.get().dismiss(&stuck);
    WAKER_THREADS.get().dismiss(&other);
    drop(waker);
    assert!(wakes_of_stuck.recv().is_err());
}

#[test]
fn a_stuck_waker_without_a_standby_delays_no_later_waker() {
    let (stuck, waker, wakes_of_stuck, _release) = foreign();
    stuck.set(waker);
    wake(&stuck);
    wakes_of_stuck.recv().unwrap();
    WAKER_THREADS.get().dismiss(&stuck);
    // The standby has ended by then.
    thread::sleep(2 * PATIENCE);

    let (other, waker, wakes, _go_on) = foreign();
    other.set(waker);
    wake(&other);
    wakes.recv().unwrap();
    WAKER_THREADS.get().dismiss(&other);
}
