//! Starts and joins the threads of loopmon. What each does is in its own module. Only `waiting/known.rs` starts
//! a short-lived thread by itself.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;
use crate::foreign;
use crate::per_process::PerProcess;

static THREADS: PerProcess<Mutex<Threads>> = PerProcess::new(Mutex::default);

/// The threads that were started and not joined.
#[derive(Debug, Default)]
struct Threads {
    /// Holds the threads that no call joins yet.
    started: Vec<JoinHandle<()>>,
    /// Counts the threads that are being joined.
    joined: usize,
}

/// How often [`join_threads`] checks whether they have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// Starts a thread. Linux cuts its name after 15 bytes.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn_by(thread::Builder::new(), name, run)
}

/// Starts a thread with a stack of so many bytes, whatever the environment asks for.
pub(crate) fn spawn_with_stack(
    name: &str,
    bytes: usize,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    spawn_by(thread::Builder::new().stack_size(bytes), name, run)
}

fn spawn_by(
    builder: thread::Builder,
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let thread = builder.name(name.to_owned()).spawn(run)?;
    join_ended();
    lock(|threads| threads.started.push(thread));
    Ok(())
}

/// Drops a value whose destructor may be foreign code, on a thread that no other waits for.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: T) {
    let free = move || foreign::discard(value);
    // If the system refuses the thread, the value is dropped here.
    foreign::call(|| spawn("loopmon-drop", free)).ok();
}

/// Waits until all threads of loopmon have ended, for `timeout` at most. Returns whether they have ended.
///
/// The threads end when nothing needs them: first stop all monitors, and drop their streams and exports. This
/// also waits for callbacks that still run. Call it before anything that requires a process without other
/// threads: `fork`, `setns`, `unshare`, or unloading the library that loopmon is linked into.
///
/// It blocks the calling thread, so do not call it in a task. In a stall callback or in an exporter's recorder,
/// which run on threads of loopmon, it always waits for the whole timeout.
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
        thread::sleep(CHECK_INTERVAL);
    }
}

/// Joins the threads that have ended. The system takes a moment to remove a thread after its last code.
fn join_ended() {
    let ended: Vec<_> = lock(|threads| {
        let started = std::mem::take(&mut threads.started).into_iter();
        let (ended, others): (Vec<_>, _) = started.partition(JoinHandle::is_finished);
        threads.started = others;
        threads.joined += ended.len();
        ended
    });
    for thread in ended {
        // The panic hook has reported its panic.
        thread.join().ok();
        lock(|threads| threads.joined -= 1);
    }
}

fn lock<R>(act: impl FnOnce(&mut Threads) -> R) -> R {
    act(&mut THREADS.get().lock().unwrap_or_else(PoisonError::into_inner))
}
