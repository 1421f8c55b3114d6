//! Hands an exporter what a monitor tells, on the exporter's own thread.

#[cfg(test)]
mod tests;

use std::future::{self, Future};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;
use tokio::time;

use super::Export;
use super::names::{Name, Names};
use crate::clock;
use crate::error::Error;
use crate::monitor::{Monitor, Samples, Stalls, WeakMonitor};
use crate::own_thread::SharedThread;
use crate::sample::Sample;
use crate::stall::Stall;

/// How often an exporter is called that wants to be, if nothing is told meanwhile.
const TICK: Duration = Duration::from_millis(100);

/// What is done with all that one monitor tells.
pub(super) trait Exporter: Send + 'static {
    /// The export begins.
    fn begin(&mut self) {}

    fn sample(&mut self, sample: &Sample, now: Instant);

    fn stall(&mut self, stall: &Stall, now: Instant);

    /// Whether something is to be done as time passes.
    fn wants_tick(&self) -> bool;

    /// Time has passed.
    fn tick(&mut self, now: Instant);

    /// The monitor has been detached, and may be attached again; or the export ends.
    fn detached(&mut self);
}

/// What all exports of one kind have in common.
#[derive(Debug)]
pub(super) struct Exports {
    thread: SharedThread,
    names: Names,
}

impl Exports {
    /// `thread` is the name of the thread they run on.
    pub(super) const fn on(thread: &'static str) -> Exports {
        Exports {
            thread: SharedThread::new(thread),
            names: Names::new(),
        }
    }

    /// Starts one, which `new` makes with the name that the monitor has there.
    pub(super) fn start<E: Exporter>(
        &'static self,
        monitor: &Monitor,
        new: impl FnOnce(&Name) -> E + Send + 'static,
    ) -> Result<Export, Error> {
        let lease = self.names.take(monitor)?;
        let thread = self.thread.thread()?;
        // Before this returns, so that nothing is lost.
        let run = Run::subscribe(monitor);
        let monitor = monitor.downgrade();
        let (finish, finished) = oneshot::channel();
        let runtime = thread.runtime().clone();
        let task = runtime.spawn(async move {
            let turn = lease.turn().await;
            // If it panics there is nothing to hand on to.
            if let Some(mut exporter) = guard(|| new(&lease.name)) {
                serve(&mut exporter, run, &monitor, finished).await;
                guard(|| drop(exporter));
            }
            drop((lease, turn, thread));
        });
        Ok(Export { task, finish })
    }
}

/// Hands all on that the monitor tells, until it is gone or the export is to finish.
async fn serve(
    exporter: &mut impl Exporter,
    mut run: Run,
    monitor: &WeakMonitor,
    finished: oneshot::Receiver<()>,
) {
    let mut finish = pin!(async move {
        if finished.await.is_err() {
            // Nobody waits for it.
            future::pending::<()>().await;
        }
    });
    guard(|| exporter.begin());
    while !run.serve(exporter, finish.as_mut()).await {
        let Some(monitor) = monitor.upgrade() else {
            break;
        };
        run = Run::subscribe(&monitor);
    }
}

/// What a monitor tells from one time it is attached.
struct Run {
    samples: Samples,
    stalls: Stalls,
}

impl Run {
    fn subscribe(monitor: &Monitor) -> Run {
        Run {
            samples: monitor.subscribe(),
            stalls: monitor.stalls(),
        }
    }

    /// Hands all of it on, or if it is to finish, what has been told by then. Returns whether it is.
    async fn serve(
        self,
        exporter: &mut impl Exporter,
        finish: impl Future<Output = ()> + Unpin,
    ) -> bool {
        let end = stream::once(future::ready(Event::Detached));
        let samples = self.samples.map(Event::Sample).chain(end);
        let stalls = self.stalls.map(Event::Stall);
        let mut events = stream::select(samples, stalls).take_until(finish);
        let mut detached = false;
        while let Some(event) = next(&mut events, exporter.wants_tick()).await {
            detached |= matches!(event, Event::Detached);
            guard(|| hand_on(&event, exporter));
            // What is found buffered may be much, and other monitors share the thread.
            consume_budget().await;
        }
        let finishes = events.take_result().is_some();
        let mut rest = events.into_inner();
        // A stall is told to its end a moment after the monitor has been stopped.
        while let Some(event) = if detached {
            rest.next().await
        } else {
            rest.next().now_or_never().flatten()
        } {
            detached |= matches!(event, Event::Detached);
            guard(|| hand_on(&event, exporter));
        }
        guard(|| exporter.detached());
        finishes
    }
}

enum Event {
    Sample(Sample),
    Stall(Stall),
    /// There will be no more samples.
    Detached,
    /// Time has passed.
    Tick,
}

async fn next(events: &mut (impl Stream<Item = Event> + Unpin), wants_tick: bool) -> Option<Event> {
    if !wants_tick {
        return events.next().await;
    }
    let event = time::timeout(TICK, events.next()).await;
    event.unwrap_or(Some(Event::Tick))
}

fn hand_on(event: &Event, exporter: &mut impl Exporter) {
    let now = clock::now();
    match event {
        Event::Sample(sample) => exporter.sample(sample, now),
        Event::Stall(stall) => exporter.stall(stall, now),
        Event::Detached | Event::Tick => {}
    }
    // Samples may come more often than ticks, and then no tick would.
    if exporter.wants_tick() {
        exporter.tick(now);
    }
}

/// What an exporter calls is not ours. Its panic has been reported by the panic hook.
pub(super) fn guard<R>(call: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}
