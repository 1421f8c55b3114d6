//! The threads of loopmon: the only place where one is started.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;
use crate::per_process::PerProcess;

/// Those that were started and have not been joined.
static THREADS: PerProcess<Mutex<Vec<JoinHandle<()>>>> = PerProcess::new(Mutex::default);

/// How often it is seen whether they have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Starts one. Linux cuts its name after 15 bytes.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
    join_ended();
    lock(|threads| threads.push(thread));
    Ok(())
}

/// Drops what may run code that is not ours, on a thread that nobody waits for.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: T) {
    // What it does is its own affair, and the panic hook has reported a panic.
    let free = move || drop(catch_unwind(AssertUnwindSafe(|| drop(value))));
    // If the system refuses the thread, it is dropped here.
    let refused = catch_unwind(AssertUnwindSafe(|| spawn("loopmon-drop", free)));
    drop(refused);
}

/// Waits until all threads of loopmon have ended, for `timeout` at the most. Returns whether they have.
///
/// They end when nothing needs them any more: stop all monitors, and drop their streams and exports
/// before. Callbacks that are still running are waited for, too. To wait is needed before what must not
/// find other threads in the process: `fork`, `setns`, `unshare`, or unloading the library that loopmon is
/// linked into.
///
/// It blocks the calling thread, so do not call it where a task runs.
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
        if lock(|threads| threads.is_empty()) {
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
        let (ended, others) = std::mem::take(threads)
            .into_iter()
            .partition(JoinHandle::is_finished);
        *threads = others;
        ended
    });
    for thread in ended {
        // Its panic has been reported.
        thread.join().ok();
    }
}

fn lock<R>(act: impl FnOnce(&mut Vec<JoinHandle<()>>) -> R) -> R {
    act(&mut THREADS.get().lock().unwrap_or_else(PoisonError::into_inner))
}
