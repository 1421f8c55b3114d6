//! Promise 15: whatever a reader's, a callback's, a sampler's or a runtime's own code does costs
//! itself alone.
//!
//! What hangs is not waited for: each case runs on a thread of its own.

mod callbacks;
mod hooks;
mod samplers;
mod wakers;

use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use loopmon::{Monitor, Sample};
use tokio::runtime::{Handle, Runtime};

use crate::support::millis;

/// Longer than anything here takes, however slow the machine.
const FOR_EVER: Duration = Duration::from_secs(30);

/// Runs it on another thread, so that a deadlock fails the test.
#[track_caller]
fn within<R: Send + 'static>(what: &str, case: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, told) = mpsc::channel();
    let running = thread::Builder::new().spawn(move || {
        let result = case();
        done.send(()).unwrap();
        result
    });
    let running = running.unwrap();
    if told.recv_timeout(FOR_EVER) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("{what} hangs");
    }
    running
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What hostile code does when it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Panics,
    /// And what it panics with panics when it is dropped.
    PanicsTwice,
    Blocks,
    Reenters,
    DropsTheLast,
}

const ACTS: [Act; 5] = [
    Act::Panics,
    Act::PanicsTwice,
    Act::Blocks,
    Act::Reenters,
    Act::DropsTheLast,
];

/// What hostile code has to do it with.
#[derive(Clone)]
struct Hostile(Arc<Means>);

struct Means {
    act: Act,
    /// What it comes back to.
    monitor: OnceLock<Monitor>,
    /// What it drops.
    last: Mutex<Vec<Box<dyn Send>>>,
    /// For how long it blocks.
    released: (Mutex<bool>, Condvar),
}

impl Hostile {
    fn new(act: Act) -> Hostile {
        Hostile(Arc::new(Means {
            act,
            monitor: OnceLock::new(),
            last: Mutex::default(),
            released: Default::default(),
        }))
    }

    fn knows(&self, monitor: &Monitor) {
        self.0.monitor.set(monitor.clone()).ok();
    }

    fn act(&self) {
        match self.0.act {
            // A second panic while the first unwinds ends any process.
            _ if thread::panicking() => {}
            Act::Panics => panic!("a hostile panic"),
            Act::PanicsTwice => std::panic::panic_any(PanicsOnDrop),
            Act::Blocks => {
                let (released, news) = &self.0.released;
                let blocked = released.lock().unwrap();
                drop(news.wait_while(blocked, |released| !*released).unwrap());
            }
            Act::Reenters => {
                if let Some(monitor) = self.0.monitor.get() {
                    reenter(monitor);
                }
            }
            Act::DropsTheLast => {
                let last = std::mem::take(&mut *self.0.last.lock().unwrap());
                drop(last);
            }
        }
    }
}

/// Lets go of those who block, however the test ends.
struct Release(Hostile);

impl Drop for Release {
    fn drop(&mut self) {
        let (released, news) = &self.0.0.released;
        *released.lock().unwrap() = true;
        news.notify_all();
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a hostile panic of a panic")
    }
}

/// Every public method that needs no other thread.
fn reenter(monitor: &Monitor) {
    let (mut samples, mut stalls) = (monitor.subscribe(), monitor.stalls());
    for _ in 0..2 {
        futures::FutureExt::now_or_never(samples.next());
        futures::FutureExt::now_or_never(stalls.next());
        futures::FutureExt::now_or_never(monitor.stopped());
    }
    let told = format!("{monitor:?} {:?} {:?}", monitor.lag(), monitor.latest());
    assert!(!told.is_empty());
    assert!(monitor.is_running() || !monitor.is_installed());
    drop((samples, stalls, monitor.clone()));
    let other = Monitor::builder().build().unwrap();
    drop((other.subscribe(), other.stalls(), other.install()));
    other.stop();
}

fn multi_thread() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn watching(runtime: &Handle) -> Monitor {
    Monitor::builder()
        .interval(millis(2))
        .stall_threshold(millis(20))
        .install_on(runtime)
        .unwrap()
}

/// Reads so many samples on a thread without a runtime.
fn read(monitor: &Monitor, count: usize) -> thread::JoinHandle<Vec<Sample>> {
    let mut samples = monitor.subscribe();
    let read = move || {
        (0..count)
            .map_while(|_| futures::executor::block_on(samples.next()))
            .collect()
    };
    thread::Builder::new().spawn(read).unwrap()
}
