//! One runtime under watch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor, RuntimeMetrics, worker_index};

use super::Request;
use super::pool::PoolProbe;
use super::probe::Probe;
use super::rendezvous::Rendezvous;
use super::reporter::{Lost, Reports};
use super::seat::{Outcome, Seat};
use super::worker::{Counters, Driven, Look, Worker};
use crate::broadcast::Publisher;
use crate::sightings::Sighting;
use crate::stack::{Shot, StackTraces};
use crate::stall::{OsThread, Stall};
use crate::tasks::OwnTasks;

/// How often all workers are asked to meet, if some do not come, and how soon again; each time it
/// takes twice as long. A runtime that has just been built may not have started them all.
const MOST_RENDEZVOUS: u32 = 8;
const RENDEZVOUS_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Watched {
    runtime: Handle,
    metrics: RuntimeMetrics,
    tasks: OwnTasks,
    name: Option<Arc<str>>,
    threshold: Duration,
    rescue_timers: bool,
    stack_traces: StackTraces,
    /// Until the end.
    publisher: Option<Arc<Publisher<Stall>>>,
    /// Reports lost since the last that was told.
    lost: u64,
    /// Taken at the first look.
    seats: Vec<Seat>,
    known: Vec<Sighting>,
    probe: Arc<Probe>,
    /// How many sightings are known.
    seen: u32,
    rendezvous: u32,
    rendezvous_at: Duration,
    pool: PoolProbe,
    load: Load,
    /// Who may drive the runtime, but did something else when it was given to be watched.
    outsider: Option<OsThread>,
}

impl Watched {
    /// Begins with its tasks on the runtime. From inside the runtime the caller's own worker is known
    /// from the start.
    pub(super) fn new(request: Request) -> Watched {
        let metrics = request.runtime.metrics();
        let sightings = request.tasks.runtime().sightings(metrics.num_workers());
        // Of earlier monitors: they know the threads, but not whether the runtime runs now.
        let (known, seen) = sightings.all();
        let probe = Probe::new();
        let here = Handle::try_current().is_ok_and(|current| current.id() == request.runtime.id());
        let inside = worker_index().filter(|_| here);
        if let Some(worker) = inside {
            sightings.add(worker);
        }
        let task = request.tasks.task().keep(probe.task());
        request.runtime.spawn(task);
        let mut watched = Watched {
            outsider: inside.is_none().then(OsThread::current),
            runtime: request.runtime,
            metrics,
            tasks: request.tasks,
            name: request.name,
            threshold: request.threshold,
            rescue_timers: request.rescue_timers,
            stack_traces: request.stack_traces,
            publisher: Some(request.publisher),
            lost: 0,
            seats: Vec::new(),
            known,
            probe,
            seen,
            rendezvous: 0,
            rendezvous_at: Duration::ZERO,
            pool: PoolProbe::default(),
            load: Load::default(),
        };
        watched.ask_all_to_meet();
        watched
    }

    pub(super) fn probe(&self) -> Arc<Probe> {
        Arc::clone(&self.probe)
    }

    pub(super) fn threshold(&self) -> Duration {
        self.threshold
    }

    /// Looks at all workers and tells what it finds. After `until` no thread is waited for.
    pub(super) fn look(&mut self, now: Duration, until: Instant, reports: &Reports) {
        if self.seats.is_empty() {
            self.take_seats(now);
        }
        self.read_sightings();
        let (mut suspected, mut stuck, mut parked) = (false, false, false);
        for index in 0..self.seats.len() {
            let read = || counters(&self.metrics, index);
            let counters = read();
            let progress = self.seats.len() == 1 && self.load.has_shrunk(&self.metrics, counters);
            let seat = &mut self.seats[index];
            let outcome = seat.look(now, until, counters, read, progress, &self.pool);
            stuck |= seat.newly_still();
            parked |= seat.is_parked();
            match outcome {
                Outcome::Nothing => {}
                Outcome::Suspected => suspected = true,
                Outcome::Tell(stall, shot) => self.tell(stall, shot, reports),
            }
        }
        for (index, seat) in self.seats.iter_mut().enumerate() {
            seat.look_again(until, || counters(&self.metrics, index));
        }
        if suspected && self.runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            self.pool.ask(&self.runtime);
        }
        // Being polled shows progress. But the probe wakes no worker that is parked, unless that is
        // wanted: that one then looks after what the one that stands still does not.
        let shows = suspected && !parked;
        let rescues = stuck && parked && self.rescue_timers;
        if shows || rescues {
            self.probe.wake();
        }
        self.complete_rendezvous(now);
    }

    /// When, by credited time, there will be something to find if nothing moves.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.seats.iter().filter_map(Seat::due_at).min()
    }

    /// Lets go of the runtime, and closes the channel.
    pub(super) fn close(&mut self, reports: &Reports) {
        self.probe.end();
        if let Some(publisher) = self.publisher.take() {
            reports.end(publisher);
        }
    }

    fn take_seats(&mut self, now: Duration) {
        let driven = match self.runtime.runtime_flavor() {
            RuntimeFlavor::CurrentThread => Driven::SoFar,
            _ => Driven::Always,
        };
        self.rendezvous_at = now;
        let known = std::mem::take(&mut self.known).into_iter().enumerate();
        self.seats = known
            .map(|(index, sighting)| {
                let first = Look {
                    now,
                    counters: counters(&self.metrics, index),
                    progress: false,
                };
                let worker = Worker::new(self.threshold, driven, first);
                Seat::new(
                    index,
                    self.name.clone(),
                    worker,
                    sighting,
                    self.stack_traces,
                )
            })
            .collect();
    }

    fn read_sightings(&mut self) {
        let (seats, outsider) = (&mut self.seats, &self.outsider);
        let sightings = self.tasks.runtime().sightings(seats.len());
        sightings.read(&mut self.seen, |worker, sighting| {
            seats[worker].sighted(sighting);
            let thread = sighting.thread.as_ref();
            if thread
                .zip(outsider.as_ref())
                .is_some_and(|(thread, outsider)| thread.is(outsider))
            {
                seats[worker].worker().may_be_left();
            }
        });
    }

    fn complete_rendezvous(&mut self, now: Duration) {
        if self.rendezvous < MOST_RENDEZVOUS
            && now.saturating_sub(self.rendezvous_at)
                >= RENDEZVOUS_INTERVAL * 2_u32.pow(self.rendezvous - 1)
            && !self.seats.iter().all(Seat::is_known)
        {
            self.rendezvous_at = now;
            self.ask_all_to_meet();
        }
    }

    fn ask_all_to_meet(&mut self) {
        self.rendezvous += 1;
        let workers = self.metrics.num_workers();
        if workers == 1 {
            return;
        }
        let rendezvous = Rendezvous::new(workers);
        for _ in 0..workers {
            let rendezvous = Arc::clone(&rendezvous);
            let task = self.tasks.task().keep(async move { rendezvous.meet() });
            self.runtime.spawn(task);
        }
    }

    fn tell(&mut self, mut stall: Stall, shot: Option<Arc<Shot>>, reports: &Reports) {
        stall.missed = self.lost;
        let Some(publisher) = &self.publisher else {
            return;
        };
        match reports.tell(publisher, stall, shot) {
            Ok(()) => self.lost = 0,
            Err(Lost) => self.lost += 1,
        }
    }
}

/// What a runtime with one worker has to do. Only that worker can make it less.
#[derive(Debug, Default)]
struct Load {
    tasks: usize,
    queued: usize,
}

impl Load {
    /// Since the last time; not while the worker is parked.
    fn has_shrunk(&mut self, metrics: &RuntimeMetrics, counters: Counters) -> bool {
        if counters.is_parked() {
            *self = Load::default();
            return false;
        }
        let load = Load {
            tasks: metrics.num_alive_tasks(),
            queued: metrics.global_queue_depth(),
        };
        let shrunk = load.tasks < self.tasks || load.queued < self.queued;
        *self = load;
        shrunk
    }
}

#[cfg(target_has_atomic = "64")]
fn counters(metrics: &RuntimeMetrics, worker: usize) -> Counters {
    Counters {
        parks_and_unparks: metrics.worker_park_unpark_count(worker),
        busy: metrics.worker_total_busy_duration(worker),
    }
}

/// `Watch::start` watches nothing there.
#[cfg(not(target_has_atomic = "64"))]
fn counters(_: &RuntimeMetrics, _: usize) -> Counters {
    Counters {
        parks_and_unparks: 0,
        busy: Duration::ZERO,
    }
}
