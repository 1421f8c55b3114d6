//! The thread that finds out why a worker does not come back: it reads what the system says of the
//! worker's thread, asks the thread itself, and takes its stack.
//!
//! All of that may need what the program holds: memory, the lock of its memory map, a lock inside of
//! Tokio. So the watchdog does not wait for it, and a report that it does not answer in time is told
//! without thread and cause. It also does for the watchdog what that must not do: wake tasks, and let
//! go of what is no longer watched.

mod candidates;
mod case;
mod census;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailboxes::Mailboxes;
use super::runtime_watch::RuntimeWatch;
use super::subject::Subject;
use super::thread::Slot;
use super::throttle::Throttle;
use crate::clock;
use crate::foreign;
use crate::runtime::WorkerCounters;
use crate::stall::{Cause, StallId};
use crate::threads;
use candidates::Candidates;
use case::{Case, Due};
use census::Census;

/// How long all threads together are waited for in one go.
const LONGEST_LOOK: Duration = Duration::from_millis(10);

/// A census costs no more than this share of the time.
const CENSUS_SHARE: u32 = 200;

/// What the watchdog wants.
#[derive(Debug)]
pub(super) enum Order {
    /// A worker stands still: its counters are these, and it is to be followed.
    Suspect {
        id: StallId,
        subject: Arc<Subject>,
        worker: usize,
        frozen: WorkerCounters,
        at: Stamp,
    },
    /// A report of it is due.
    Conclude {
        id: StallId,
        due: Asked,
    },
    /// It is over, and a report is due. It began at this credited time.
    End {
        id: StallId,
        due: Asked,
        began: Duration,
    },
    /// It is over, and no report is due.
    Clear(StallId),
    /// The task of loopmon is to be polled.
    Wake(Arc<Subject>),
    /// All workers are to meet.
    Meet(Arc<Subject>),
    /// Its workers change threads: these are to be known.
    Census(Arc<Subject>),
    Free(Vec<Slot>),
    Dispose(Box<RuntimeWatch>),
    /// There will be no more orders.
    Over,
}

/// What the watchdog knows of a report that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Of the report.
    pub(super) number: u32,
    /// How long the worker has stood still.
    pub(super) lasted: Duration,
    /// What the counters alone show to be the cause.
    pub(super) shown: Option<Cause>,
    pub(super) at: Stamp,
}

/// When an order was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    credited: Duration,
    wall: Instant,
}

impl Stamp {
    pub(super) fn new(credited: Duration) -> Stamp {
        Stamp {
            credited,
            wall: clock::now(),
        }
    }

    /// The present, by credited time, if there has been no gap since.
    fn now(self) -> Duration {
        self.of(clock::now())
    }

    /// An earlier or later time, in the same way.
    fn of(self, time: Instant) -> Duration {
        let later = self.credited + time.saturating_duration_since(self.wall);
        later.saturating_sub(self.wall.saturating_duration_since(time))
    }
}

/// Follows orders until there will be no more.
pub(super) fn serve(mailboxes: &Arc<Mailboxes>) {
    let mut inspector = Inspector {
        mailboxes: Arc::clone(mailboxes),
        cases: Vec::new(),
        censuses: HashMap::new(),
        throttle: Throttle::default(),
        at: Stamp::new(Duration::ZERO),
        follow_at: clock::now(),
    };
    inspector.throttle.look(clock::now());
    loop {
        let follow_at = (!inspector.cases.is_empty()).then_some(inspector.follow_at);
        let due = follow_at
            .into_iter()
            .chain(inspector.throttle.due_at())
            .min();
        let order = mailboxes.inspector.pop(due);
        if matches!(order, Some(Order::Over)) {
            return;
        }
        // A fault of ours costs what it was found out about, and the hook has reported it.
        if foreign::call(|| inspector.act(order)).is_err() {
            inspector.cases.clear();
        }
    }
}

struct Inspector {
    mailboxes: Arc<Mailboxes>,
    /// What is suspected or stalled.
    cases: Vec<Case>,
    /// For runtimes whose workers change threads: the last two each, the older one first.
    censuses: HashMap<*const Subject, [Option<Census>; 2]>,
    throttle: Throttle,
    /// When the last order was given.
    at: Stamp,
    /// When all cases are looked at next.
    follow_at: Instant,
}

impl Inspector {
    fn act(&mut self, order: Option<Order>) {
        if let Some(order) = order {
            self.follow_order(order);
        }
        let now = clock::now();
        if now >= self.follow_at {
            let tick = self.cases.iter().map(Case::tick).min();
            self.follow_at = now + tick.unwrap_or(LONGEST_LOOK);
            let until = now + LONGEST_LOOK;
            for case in &mut self.cases {
                case.follow(self.at, until);
            }
            // Its end may have been refused.
            self.cases.retain(|case| !case.is_lost(now));
        }
        self.throttle.look(now);
    }

    fn follow_order(&mut self, order: Order) {
        let until = clock::now() + LONGEST_LOOK;
        match order {
            Order::Suspect {
                id,
                subject,
                worker,
                frozen,
                at,
            } => {
                self.at = at;
                let candidates = Candidates::new(self.census_before(&subject, at));
                let mut case = Case::new(id, subject, worker, frozen, candidates);
                case.begin(at, until);
                self.follow_at = self.follow_at.min(clock::now() + case.tick());
                self.cases.push(case);
            }
            Order::Conclude { id, due } => {
                self.at = due.at;
                if let Some(index) = self.position(id) {
                    let due = self.due(due, index);
                    self.cases[index].conclude(due, until, &self.mailboxes);
                }
            }
            Order::End { id, due, began } => {
                self.at = due.at;
                if let Some(index) = self.position(id) {
                    let due = self.due(due, index);
                    let case = self.cases.swap_remove(index);
                    case.end(due, began, &self.mailboxes);
                }
            }
            Order::Clear(id) => self.cases.retain(|case| case.id() != id),
            Order::Wake(subject) => subject.probe.wake(),
            Order::Meet(subject) => subject.probe.meet(),
            Order::Census(subject) => self.take_census(&subject),
            Order::Free(slots) => drop(slots),
            Order::Dispose(watched) => self.dispose(watched),
            Order::Over => {}
        }
    }

    fn position(&self, id: StallId) -> Option<usize> {
        self.cases.iter().position(|case| case.id() == id)
    }

    fn due(&self, asked: Asked, index: usize) -> Due {
        let case = &self.cases[index];
        let is_another = |other: &Case| other.is_another_worker_than(case);
        Due {
            number: asked.number,
            lasted: asked.lasted,
            shown: asked.shown,
            at: asked.at,
            is_only_one: !self.cases.iter().any(is_another),
        }
    }

    /// The last census that was taken before the workers that stand still now came to do so.
    fn census_before(&self, subject: &Arc<Subject>, at: Stamp) -> Option<Census> {
        let [older, newer] = self.censuses.get(&Arc::as_ptr(subject))?;
        // It has stood still for half the threshold, and a tick more at the most.
        let still = subject.threshold / 2 + 2 * subject.tick();
        let age = |census: &Census| at.wall.saturating_duration_since(census.taken_at);
        let is_old = |census: &&Census| age(census) > still;
        newer.as_ref().filter(is_old).or(older.as_ref()).cloned()
    }

    fn take_census(&mut self, subject: &Arc<Subject>) {
        let thread = subject
            .worker_threads()
            .thread_like(0)
            .and_then(|like| like.id);
        let began = clock::now();
        let [older, newer] = self.censuses.entry(Arc::as_ptr(subject)).or_default();
        let is_too_soon = newer.as_ref().is_some_and(|last| {
            began.saturating_duration_since(last.taken_at) < last.cost * CENSUS_SHARE
        });
        if !is_too_soon {
            if let Some(census) = thread.and_then(Census::take) {
                *older = newer.replace(census);
            }
        }
    }

    /// Lets go of a runtime: what its hooks own may be dropped with it, which is code that is not ours.
    fn dispose(&mut self, watched: Box<RuntimeWatch>) {
        let subject: *const Subject = watched.subject();
        self.cases.retain(|case| !case.is_of(subject));
        self.censuses.remove(&subject);
        self.mailboxes.give_slot_back();
        watched.subject().probe.end();
        threads::drop_elsewhere(watched);
    }
}
