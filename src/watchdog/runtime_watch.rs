//! One runtime under watch: all its workers and its root thread at one tick, when the next tick is due, and
//! which workers' threads are still unknown. One worker alone: `worker_watch.rs`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::case::Tick;
use super::detector::{Driven, Observation};
use super::mailboxes::Mailboxes;
use super::messages::{Command, Event};
use super::root_watch::RootWatch;
use super::subject::Subject;
use super::worker_watch::WorkerWatch;
use crate::runtime::WorkerCounters;

/// How often all workers are observed at once while some are unknown, and after what time first; that
/// doubles each time. A runtime that has just been built may not have started all its threads.
const MOST_ROUNDS: u32 = 8;
const FIRST_ROUND_AFTER: Duration = Duration::from_millis(5);

/// How often the threads of a runtime are counted while its workers stay on theirs.
const CENSUS_INTERVAL: Duration = Duration::from_secs(1);

/// For how long each tick must have found all threads at rest before the runtime counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Has all its memory before the watchdog sees it.
#[derive(Debug)]
pub(super) struct RuntimeWatch {
    subject: Arc<Subject>,
    workers: Vec<WorkerWatch>,
    root: Option<RootWatch>,
    has_begun: bool,
    /// The last tick at which a thread was not at rest.
    busy_at: AwakeInstant,
    /// How often all workers together had been observed at the last tick.
    observations: u32,
    load: Load,
    /// Counts the rounds in which all workers were to be observed.
    rounds: u32,
    last_round_at: AwakeInstant,
    last_census_at: AwakeInstant,
    /// Counts the reports that were refused since the last one that was not.
    lost_reports: u64,
}

/// What one tick has shown of the workers together.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    newly_suspected: bool,
    newly_stuck: bool,
    parked: bool,
}

impl RuntimeWatch {
    pub(super) fn new(subject: Arc<Subject>) -> RuntimeWatch {
        let driven = if subject.has_many_workers {
            Driven::Always
        } else {
            Driven::Continuous
        };
        let workers = (0..subject.workers())
            .map(|index| WorkerWatch::new(index, driven, &subject))
            .collect();
        let root = subject.root.clone();
        RuntimeWatch {
            workers,
            root: root.map(|root| RootWatch::new(root, &subject)),
            has_begun: false,
            busy_at: AwakeInstant::START,
            observations: 0,
            load: Load::default(),
            rounds: 0,
            last_round_at: AwakeInstant::START,
            last_census_at: AwakeInstant::START,
            lost_reports: 0,
            subject,
        }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// One tick. Returns when the next is due.
    pub(super) fn observe(&mut self, time: AwakeTime, mailboxes: &Mailboxes) -> AwakeInstant {
        if !self.has_begun {
            self.begin(time);
        }
        let shown = self.observe_workers(time, mailboxes);
        if !self.is_at_rest() {
            self.busy_at = time.now;
        }
        // The poll of loopmon's task shows that a worker makes progress. But it would wake a parked worker,
        // which is not wanted, except to have that worker take over timers from the stuck one.
        let shows_progress = shown.newly_suspected && !shown.parked;
        let rescues = shown.newly_stuck && shown.parked && self.subject.rescue_timers;
        if shows_progress || rescues {
            mailboxes.command(Command::WakeProbe(Arc::clone(&self.subject)));
        }
        self.observe_the_unknown(time.now, mailboxes);
        self.request_census(time.now, mailboxes);
        self.due_after(time.now)
    }

    fn begin(&mut self, time: AwakeTime) {
        self.has_begun = true;
        self.busy_at = time.now;
        self.last_round_at = time.now;
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.begin(Observation {
                time,
                counters: self.subject.counters(index),
                progress: false,
            });
        }
    }

    fn observe_workers(&mut self, time: AwakeTime, mailboxes: &Mailboxes) -> Shown {
        let subject = &self.subject;
        let observations = subject.worker_threads().total_observations();
        let has_observed = mem::replace(&mut self.observations, observations) != observations;
        let is_alone = self.workers.len() == 1;
        let mut shown = Shown::default();
        let workers_root = self.root.as_ref().filter(|_| !subject.has_many_workers);
        let mut tick = Tick {
            time,
            subject,
            mailboxes,
            lost_reports: &mut self.lost_reports,
            reported_at: workers_root.and_then(RootWatch::stuck_at),
        };
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let counters = subject.counters(index);
            let mut progress = is_alone && self.load.has_shrunk(subject, counters);
            if has_observed {
                progress |= worker.was_observed(subject);
                if subject.is_on_outsider(index) {
                    let root = subject.root.as_ref();
                    let is_seen =
                        root.is_some_and(|root| root.runs(subject.worker_threads(), index));
                    worker.detector().set_maybe_intermittent(is_seen);
                }
            }
            let seen = Observation {
                time,
                counters,
                progress,
            };
            shown.newly_suspected |= worker.observe(seen, &mut tick);
            shown.newly_stuck |= worker.is_newly_stuck();
            shown.parked |= worker.is_parked();
        }
        if let Some(root) = &mut self.root {
            // Where Tokio's counters show a stall of the worker, they show more.
            let not_before = if subject.has_many_workers {
                Some(AwakeInstant::START)
            } else {
                self.workers.first().and_then(WorkerWatch::uncertain_since)
            };
            root.observe(not_before, &mut tick);
        }
        shown
    }

    fn observe_the_unknown(&mut self, now: AwakeInstant, mailboxes: &Mailboxes) {
        let is_known = |index| self.subject.worker_threads().number(index).is_some();
        if self.rounds < MOST_ROUNDS
            && self.workers.len() > 1
            && now.since(self.last_round_at) >= FIRST_ROUND_AFTER * 2_u32.pow(self.rounds)
            && !(0..self.workers.len()).all(is_known)
        {
            self.last_round_at = now;
            self.rounds += 1;
            mailboxes.command(Command::ObserveAll(Arc::clone(&self.subject)));
        }
    }

    /// The inspector has to know what the threads did before a stall. Where workers change their threads,
    /// that must be recent.
    fn request_census(&mut self, now: AwakeInstant, mailboxes: &Mailboxes) {
        if !self.subject.has_many_workers {
            return;
        }
        let interval = if self.subject.worker_threads().have_moved() {
            self.subject.threshold / 2
        } else {
            CENSUS_INTERVAL
        };
        if now.since(self.last_census_at) >= interval {
            self.last_census_at = now;
            mailboxes.command(Command::TakeCensus(Arc::clone(&self.subject)));
        }
    }

    fn is_at_rest(&self) -> bool {
        self.workers.iter().all(WorkerWatch::is_parked)
            && self.root.as_ref().is_none_or(RootWatch::is_at_rest)
    }

    fn due_after(&self, now: AwakeInstant) -> AwakeInstant {
        let is_idle = now.since(self.busy_at) >= IDLE_AFTER;
        let tick = if is_idle {
            self.subject.idle_tick()
        } else {
            self.subject.tick()
        };
        let next_tick = now + tick;
        let due = self.workers.iter().filter_map(WorkerWatch::due_at);
        let root = self.root.as_ref().and_then(RootWatch::due_at);
        let due = due.chain(root).min();
        due.map_or(next_tick, |due| due.clamp(now, next_tick))
    }

    /// Has the channel closed, and the watch dropped on another thread.
    pub(super) fn end(self: Box<Self>, mailboxes: &Mailboxes) {
        let subject = Arc::clone(&self.subject);
        mailboxes.event_reserved(Event::End(Arc::clone(&subject.outlet)));
        mailboxes.command_reserved(Command::Dispose {
            subject,
            watch: self,
        });
    }
}

/// The load of a runtime with one worker, which only that worker can make less; or a thread that has handed it over by
/// `block_in_place`, which the inspector rules out.
#[derive(Debug, Default)]
struct Load {
    tasks: usize,
    queued: usize,
}

impl Load {
    /// Whether the load is less than at the last call. Starts anew while the worker is parked.
    fn has_shrunk(&mut self, subject: &Subject, counters: WorkerCounters) -> bool {
        if counters.is_parked() {
            *self = Load::default();
            return false;
        }
        let (tasks, queued) = subject.load();
        let shrunk = tasks < self.tasks || queued < self.queued;
        *self = Load { tasks, queued };
        shrunk
    }
}
