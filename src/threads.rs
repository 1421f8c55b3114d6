//! The threads of loopmon: the only place where one is started, but for one that lives for a moment (see
//! `waiting/known.rs`).

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;
use crate::foreign;
use crate::per_process::PerProcess;

static THREADS: PerProcess<Mutex<Threads>> = PerProcess::new(Mutex::default);

/// Those that were started.
#[derive(Debug, Default)]
struct Threads {
    /// Nobody joins them yet.
    started: Vec<JoinHandle<()>>,
    /// How many are being joined.
    joined: usize,
}

/// How often it is seen whether they have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Starts one. Linux cuts its name after 15 bytes.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
    join_ended();
    lock(|threads| threads.started.push(thread));
    Ok(())
}

/// Drops what may run code that is not ours, on a thread that nobody waits for.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: T) {
    let free = move || foreign::discard(value);
    // If the system refuses the thread, it is dropped here.
    foreign::call(|| spawn("loopmon-drop", free)).ok();
}

/// Waits until all threads of loopmon have ended, for `timeout` at the most. Returns whether they have.
///
/// They end when nothing needs them any more: stop all monitors, and drop their streams and exports
/// before. Callbacks that are still running are waited for, too. To wait is needed before what must not
/// find other threads in the process: `fork`, `setns`, `unshare`, or unloading the library that loopmon is
/// linked into.
///
/// It blocks the calling thread, so do not call it where a task runs. In a callback of stalls or in an
/// exporter's recorder, which run on threads of loopmon, it waits in vain.
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// let monitor = loopmon::Monitor::builder().install_on(runtime.handle())?;
/// let stalls = monitor.stalls();
///
/// monitor.stop();
/// drop(stalls);
/// assert!(loopmon::join_threads(Duration::from_secs(30)));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn join_threads(timeout: Duration) -> bool {
    let began = clock::now();
    loop {
        join_ended();
        if lock(|threads| threads.started.is_empty() && threads.joined == 0) {
            return true;
        }
        if clock::now().saturating_duration_since(began) >= timeout {
            return false;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Until the system has let go of them, which takes a moment after they have done their work.
fn join_ended() {
    let ended: Vec<_> = lock(|threads| {
        let started = std::mem::take(&mut threads.started).into_iter();
        let (ended, others): (Vec<_>, _) = started.partition(JoinHandle::is_finished);
        threads.started = others;
        threads.joined += ended.len();
        ended
    });
    for thread in ended {
        // Its panic has been reported.
        thread.join().ok();
        lock(|threads| threads.joined -= 1);
    }
}

fn lock<R>(act: impl FnOnce(&mut Threads) -> R) -> R {
    act(&mut THREADS.get().lock().unwrap_or_else(PoisonError::into_inner))
}
