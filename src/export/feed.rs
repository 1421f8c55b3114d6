//! Hands an exporter what a monitor tells, on the exporter's own thread.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use futures::stream::{self, Stream, StreamExt};
use tokio::task::coop::consume_budget;
use tokio::time;

use super::Export;
use super::names::Names;
use crate::clock;
use crate::error::{Error, Kind};
use crate::monitor::{Monitor, Samples, Stalls};
use crate::own_thread::Purpose;
use crate::sample::Sample;
use crate::stall::Stall;

/// How often an exporter is called that wants to be, if nothing is told meanwhile.
const TICK: Duration = Duration::from_millis(100);

/// What monitors without a name are exported as.
const UNNAMED: &str = "unnamed";

/// What is done with all that one monitor tells.
pub(super) trait Exporter: Send + 'static {
    fn sample(&mut self, sample: &Sample);

    fn stall(&mut self, stall: &Stall, now: Instant);

    /// Whether something is to be done as time passes.
    fn wants_tick(&self) -> bool;

    /// Time has passed.
    fn tick(&mut self, now: Instant);

    /// The monitor has been detached. It may be attached again.
    fn detached(&mut self);
}

/// What all exports of one kind have in common.
#[derive(Debug)]
pub(super) struct Exports {
    thread: Purpose,
    names: Names,
}

impl Exports {
    /// `thread` is the name of the thread they run on.
    pub(super) const fn on(thread: &'static str) -> Exports {
        Exports {
            thread: Purpose::new(thread),
            names: Names::new(),
        }
    }

    /// Starts one, which `new` makes with the name that the monitor has there.
    pub(super) fn start<E: Exporter>(
        &'static self,
        monitor: &Monitor,
        new: impl FnOnce(&str) -> E,
    ) -> Result<Export, Error> {
        let name = self.names.take(monitor.name().unwrap_or(UNNAMED))?;
        let thread = self.thread.thread().map_err(|_| Kind::ThreadRefused)?;
        let mut exporter = new(name.as_str());
        // Before this returns, so that nothing is lost.
        let mut run = Run::subscribe(monitor);
        let monitor = monitor.downgrade();
        let runtime = thread.runtime().clone();
        let task = runtime.spawn(async move {
            loop {
                run.serve(&mut exporter).await;
                let Some(monitor) = monitor.upgrade() else {
                    break;
                };
                run = Run::subscribe(&monitor);
            }
            drop((name, thread));
        });
        Ok(Export { task })
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

    /// Hands all of it on.
    async fn serve(self, exporter: &mut impl Exporter) {
        let samples = self.samples.map(Event::Sample);
        let stalls = self.stalls.map(Event::Stall);
        let mut events = stream::select(samples, stalls);
        while let Some(event) = next(&mut events, exporter.wants_tick()).await {
            guard(|| hand_on(&event, exporter));
            // What is found buffered may be much, and other monitors share the thread.
            consume_budget().await;
        }
        guard(|| exporter.detached());
    }
}

enum Event {
    Sample(Sample),
    Stall(Stall),
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
        Event::Sample(sample) => exporter.sample(sample),
        Event::Stall(stall) => exporter.stall(stall, now),
        Event::Tick => {}
    }
    // Samples may come more often than ticks, and then no tick would.
    if exporter.wants_tick() {
        exporter.tick(now);
    }
}

/// What an exporter calls is not ours. Its panic has been reported by the panic hook.
fn guard(call: impl FnOnce()) {
    catch_unwind(AssertUnwindSafe(call)).ok();
}
