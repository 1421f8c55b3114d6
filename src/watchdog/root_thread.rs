//! The thread that may call `block_on` of a watched runtime, and what the inspector knows of it. Without the
//! `stack` feature there is none, as nothing shows then whether it polls.
//!
//! It is the thread that installed the monitor: inside `block_on`, or before it. What it does is seen from
//! outside only, and its own Tokio context tells its polls from all else.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor, worker_index};
use tokio::task;

use super::root_detector::Judgement;
use crate::procfs::{Schedule, Thread, Times};
use crate::runtime::WorkerThreads;
use crate::stack::{self, ContextAddress, Look, StackCapture, Target, Witness};
use crate::stall::OsThread;

/// A thread that installed a monitor.
#[derive(Debug, Clone)]
pub(crate) struct Installer {
    thread: OsThread,
    context: ContextAddress,
}

impl Installer {
    /// The calling thread. `None` if nothing will show what it polls of the runtime, or if it is one of the
    /// runtime's own.
    pub(crate) fn here(runtime: &Handle, settings: &StackCapture) -> Option<Installer> {
        let is_multi_thread = runtime.runtime_flavor() != RuntimeFlavor::CurrentThread;
        let is_in_a_task = worker_index().is_some() || task::try_id().is_some();
        if !settings.taken || (is_multi_thread && is_in_a_task) {
            return None;
        }
        let context = ContextAddress::here()?;
        stack::introduce();
        Some(Installer {
            thread: OsThread::current(),
            context,
        })
    }
}

/// The thread of a root future, as the threads of the watchdog share it.
#[derive(Debug)]
pub(super) struct RootThread {
    installer: Installer,
    /// What only the watchdog reads.
    schedule: Schedule,
    /// Found out by the inspector. `None` inside if it cannot be.
    witness: OnceLock<Option<Witness>>,
    /// What the inspector judged last: twice the number of the stretch, plus one if the thread polls.
    judgement: AtomicU32,
    /// For how many milliseconds the thread has been seen to be in that poll.
    seen_for: AtomicU32,
}

impl RootThread {
    pub(super) fn new(installer: Installer) -> Option<RootThread> {
        let id = installer.thread.id?;
        Some(RootThread {
            schedule: Schedule::of(Thread(id)),
            installer,
            witness: OnceLock::new(),
            judgement: AtomicU32::new(0),
            seen_for: AtomicU32::new(0),
        })
    }

    pub(super) fn thread(&self) -> &OsThread {
        &self.installer.thread
    }

    /// Whether the worker was last observed on this thread. Takes no lock.
    pub(super) fn runs(&self, threads: &WorkerThreads, worker: usize) -> bool {
        threads.number(worker) == Some(self.installer.thread.number())
    }

    pub(super) fn target(&self) -> Option<Target> {
        self.installer.thread.target()
    }

    /// For the watchdog: neither allocates nor takes a lock.
    pub(super) fn times(&self) -> Option<Times> {
        self.schedule.times()
    }

    /// For the inspector: what the thread has noted of its polls of this runtime.
    pub(super) fn look(&self, runtime: &Handle) -> Option<Look> {
        let witness = self.witness.get_or_init(|| Witness::of(runtime));
        witness.as_ref()?.look(self.installer.context)
    }

    pub(super) fn judge(&self, judgement: Judgement) {
        let word = judgement.number << 1 | u32::from(judgement.polls);
        let seen_for = u32::try_from(judgement.seen_for.as_millis()).unwrap_or(u32::MAX);
        self.seen_for.store(seen_for, Ordering::Relaxed);
        self.judgement.store(word, Ordering::Release);
    }

    pub(super) fn judgement(&self) -> Judgement {
        let word = self.judgement.load(Ordering::Acquire);
        Judgement {
            number: word >> 1,
            polls: word & 1 == 1,
            seen_for: Duration::from_millis(self.seen_for.load(Ordering::Relaxed).into()),
        }
    }
}
