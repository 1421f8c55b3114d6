//! What the watchdog's threads say to each other: commands to the inspector, events for the reporter. Not
//! how that travels: `mailboxes.rs`.
//!
//! This file imports neither senders nor receivers. What a receiver only drops is [`Garbage`] here.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use super::awake_clock::AwakeInstant;
use super::outlet::Outlet;
use super::poll_subject::PollSubject;
use super::root_detector::Stretch;
use super::root_thread::RootThread;
use super::subject::Subject;
use super::verdict::CaseEvidence;
use crate::clock;
use crate::polls::PollId;
use crate::runtime::WorkerCounters;
use crate::stack::StackSnapshot;
use crate::stall::{Cause, OsThread, Stall, StallId};

/// What the watchdog's thread must not drop, as that may free memory or run foreign code.
pub(super) type Garbage = Box<dyn Debug + Send>;

/// From the watchdog to the inspector.
#[derive(Debug)]
pub(super) enum Command {
    /// Investigate what is stuck.
    Suspect {
        id: StallId,
        suspect: Suspect,
        at: Stamp,
    },
    /// Answer a report of a stall that goes on.
    Conclude {
        id: StallId,
        due: Due,
    },
    /// Answer the last report of a stall that is over.
    End {
        id: StallId,
        due: Due,
        began: AwakeInstant,
    },
    /// Forget a suspicion that was not confirmed.
    Clear(StallId),
    /// Have loopmon's task on the runtime polled.
    WakeProbe(Arc<Subject>),
    /// Have all workers of the runtime observed at once.
    ObserveAll(Arc<Subject>),
    /// Record what the threads of the runtime have done so far.
    TakeCensus(Arc<Subject>),
    Free(Garbage),
    /// Drop the watch of a runtime, which has ended.
    Dispose {
        subject: Arc<Subject>,
        watch: Garbage,
    },
    /// Drop the watch of a monitor's futures, which has ended.
    DisposePolls {
        subject: Arc<PollSubject>,
        watch: Garbage,
    },
    /// The last command.
    Stop,
}

/// What is stuck.
#[derive(Debug)]
pub(super) enum Suspect {
    Worker {
        subject: Arc<Subject>,
        worker: usize,
        /// The worker is stuck for as long as its counters are these.
        frozen: WorkerCounters,
    },
    /// A thread that may call `block_on`: whether it is in a poll there is to be judged first.
    Root {
        root: Arc<RootThread>,
        subject: Arc<Subject>,
        stretch: Stretch,
    },
    /// A poll of an instrumented future.
    Poll {
        subject: Arc<PollSubject>,
        poll: PollId,
    },
}

/// A report that is due, as far as the watchdog knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// The number of the report among those of its worker.
    pub(super) number: u32,
    /// How long the worker has been stuck, or was in all.
    pub(super) lasted: Duration,
    /// For how long that is certain, without pauses of the process.
    pub(super) at_least: Duration,
    /// The cause as far as the counters alone show it.
    pub(super) hint: Option<Cause>,
    pub(super) at: Stamp,
}

/// The moment of a command, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    awake: AwakeInstant,
    pub(super) system: Instant,
}

impl Stamp {
    pub(super) fn new(awake: AwakeInstant) -> Stamp {
        Stamp {
            awake,
            system: clock::now(),
        }
    }

    /// The moment of another time, if there was no gap between.
    pub(super) fn moved_to(self, time: Instant) -> Stamp {
        Stamp {
            awake: self.awake_at(time),
            system: time,
        }
    }

    /// The present as awake time, if there has been no gap since.
    pub(super) fn now(self) -> AwakeInstant {
        self.awake_at(clock::now())
    }

    /// Another time as awake time, if there was no gap between.
    pub(super) fn awake_at(self, time: Instant) -> AwakeInstant {
        let later = self.awake + time.saturating_duration_since(self.system);
        later - self.system.saturating_duration_since(time)
    }
}

/// For the reporter.
#[derive(Debug)]
pub(super) enum Event {
    /// The watchdog reports a stall.
    Report(Report),
    /// The inspector answers a report.
    Answer(Answer),
    /// The inspector has taken the stack that its answer announced.
    Stack(Stack),
    /// A watch that publishes there has ended.
    End(Arc<Outlet>),
    /// A stack has been resolved.
    Resolved,
    /// The last event.
    Stop,
}

/// One report of a stall. The outlet is shared, not cloned: cloning it, or dropping its last clone, takes
/// its lock.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) outlet: Arc<Outlet>,
    /// The number of the report among those of its worker.
    pub(super) number: u32,
    /// How long to wait for the inspector's answer. `None` if the inspector was not asked.
    pub(super) answer_within: Option<Duration>,
    pub(super) stall: Stall,
}

/// The inspector's answer to one report.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: StallId,
    pub(super) number: u32,
    pub(super) findings: Findings,
}

/// What the inspector has found out about a stall.
#[derive(Debug)]
pub(super) enum Findings {
    /// This is no stall, so nothing is reported.
    NoStall,
    /// The stall ended during the investigation.
    Nothing,
    Found {
        evidence: CaseEvidence,
        /// For the last report of a stall alone.
        ending: Option<Ending>,
        thread: Option<OsThread>,
        task: Option<task::Id>,
        snapshot: Option<Arc<StackSnapshot>>,
        /// Whether an [`Event::Stack`] follows.
        stack_follows: bool,
    },
}

/// What is known of a stall only at its end.
#[derive(Debug)]
pub(super) struct Ending {
    /// The evidence of the last report while the stall went on.
    pub(super) live: Option<CaseEvidence>,
    /// Whether the busy time shows that nobody ran the worker.
    pub(super) is_unattended: bool,
}

/// The stack that belongs to an [`Answer`].
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) id: StallId,
    pub(super) number: u32,
    /// `None` if no stack could be taken.
    pub(super) snapshot: Option<Arc<StackSnapshot>>,
    /// Whether the thread says that it runs the worker. `None` if it was not asked.
    pub(super) says_worker: Option<bool>,
    pub(super) task: Option<task::Id>,
    /// Whether each answer of the thread has named another task.
    pub(super) changed_task: bool,
}
