//! Starts and joins loopmon's threads: no other file does, but for a thread that lives for a moment
//! (`waiting/known.rs`). What they run is up to others.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;
use crate::foreign;
use crate::per_process::PerProcess;

static THREADS: PerProcess<Mutex<Threads>> = PerProcess::new(Mutex::default);

#[derive(Debug, Default)]
struct Threads {
    /// The threads that nobody joins yet.
    started: Vec<JoinHandle<()>>,
    /// Counts the threads that are being joined.
    joining: usize,
}

/// How often [`join_threads`] looks for threads that have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// Starts a thread. Linux cuts its name after 15 bytes.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
    join_ended();
    lock(|threads| threads.started.push(thread));
    Ok(())
}

/// Drops a value that may run foreign code, on a thread that nobody waits for.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: T) {
    let free = move || foreign::discard(value);
    // If the system refuses the thread, the value is dropped here.
    foreign::call(|| spawn("loopmon-drop", free)).ok();
}

/// Waits until all threads of loopmon have ended, for `timeout` at the most. Returns whether they have.
///
/// The threads end when nothing needs them any more. So stop all monitors first, and drop their streams and
/// exports. Callbacks that still run are waited for, too. Call this before anything that must not find
/// other threads in the process: `fork`, `setns`, `unshare`, or unloading the library that loopmon is
/// linked into.
///
/// This blocks the calling thread, so do not call it in a task. In a stall callback or an exporter's
/// recorder, which run on threads of loopmon, it waits in vain.
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
        if lock(|threads| threads.started.is_empty() && threads.joining == 0) {
            return true;
        }
        if clock::now().saturating_duration_since(began) >= timeout {
            return false;
        }
        thread::sleep(CHECK_INTERVAL);
    }
}

/// Joins the threads that have done their work: the system takes a moment longer to end them.
fn join_ended() {
    let ended: Vec<_> = lock(|threads| {
        let started = std::mem::take(&mut threads.started).into_iter();
        let (ended, others): (Vec<_>, _) = started.partition(JoinHandle::is_finished);
        threads.started = others;
        threads.joining += ended.len();
        ended
    });
    for thread in ended {
        // The panic hook has reported its panic.
        thread.join().ok();
        lock(|threads| threads.joining -= 1);
    }
}

fn lock<R>(act: impl FnOnce(&mut Threads) -> R) -> R {
    act(&mut THREADS.get().lock().unwrap_or_else(PoisonError::into_inner))
}
