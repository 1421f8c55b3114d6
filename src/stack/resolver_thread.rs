//! The thread that resolves stacks to functions, files and lines. How it does so is the platform's.
//!
//! Resolving takes time, and locks that a stuck thread may hold, so nobody waits for this thread for long. The
//! process has one at most, as what it reads of the program needs memory. It ends when nobody needs it and what it
//! was sent is done; who needs it before that has it go on.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::platform::{Resolver, block_signals};
use super::snapshot::Unresolved;
use crate::per_process::PerProcess;
use crate::threads;

/// How long after the last stack the resolver is kept, with what it has read of the program.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// How large the thread's stack is, in bytes. What is read of a program may be nested deeply, so this must not depend
/// on `RUST_MIN_STACK`.
const STACK: usize = 2 << 20;

static RUNNING: PerProcess<Mutex<Running>> = PerProcess::new(Mutex::default);

/// The thread, if it runs.
#[derive(Debug, Default)]
struct Running {
    jobs: Option<Sender<Job>>,
    /// Counts who needs it, and those whose [`Job::Leave`] it has not seen.
    users: usize,
}

enum Job {
    Resolve(Box<Unresolved>, Done),
    /// Somebody needs the thread no longer.
    Leave,
}

/// Called after each stack, even if resolving it failed.
type Done = Arc<dyn Fn() + Send + Sync>;

/// Sends stacks to the thread. After this is dropped, the thread resolves those that somebody still waits for.
pub(crate) struct ResolverThread {
    jobs: Sender<Job>,
    done: Done,
}

impl ResolverThread {
    /// Starts the thread if it does not run. It calls `done` after each stack of this one.
    pub(crate) fn start(done: impl Fn() + Send + Sync + 'static) -> io::Result<ResolverThread> {
        let mut running = running();
        let jobs = match &running.jobs {
            Some(jobs) => jobs.clone(),
            None => {
                let (sender, jobs) = mpsc::channel();
                threads::spawn_with_stack("loopmon-stacks", STACK, move || run(&jobs))?;
                sender
            }
        };
        running.jobs = Some(jobs.clone());
        running.users += 1;
        Ok(ResolverThread {
            jobs,
            done: Arc::new(done),
        })
    }

    pub(crate) fn resolve(&self, stack: Unresolved) {
        // Fails only if the thread has ended. The stack then counts as resolved, without a trace.
        let job = Job::Resolve(Box::new(stack), Arc::clone(&self.done));
        self.jobs.send(job).ok();
    }
}

impl Drop for ResolverThread {
    fn drop(&mut self) {
        self.jobs.send(Job::Leave).ok();
    }
}

impl fmt::Debug for ResolverThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResolverThread")
    }
}

fn running() -> MutexGuard<'static, Running> {
    let running = RUNNING.get().lock();
    running.unwrap_or_else(PoisonError::into_inner)
}

fn run(jobs: &Receiver<Job>) {
    block_signals();
    let mut kept: Option<Resolver> = None;
    loop {
        let job = match kept {
            Some(_) => jobs.recv_timeout(KEPT_FOR),
            None => jobs.recv().map_err(RecvTimeoutError::from),
        };
        match job {
            Ok(Job::Resolve(stack, done)) => {
                if stack.is_wanted() {
                    let resolver = kept.get_or_insert_default();
                    // The libraries that read debug information may panic on what is corrupt.
                    catch_unwind(AssertUnwindSafe(|| stack.resolve(resolver))).ok();
                }
                done();
            }
            Ok(Job::Leave) => {
                let mut running = running();
                running.users -= 1;
                if running.users == 0 {
                    running.jobs = None;
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => kept = None,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
