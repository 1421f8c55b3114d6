//! Passes what a monitor publishes to an exporter or to the page, on their own thread, through all runs of the
//! monitor. What becomes of it is their concern.

use std::future::{self, Future};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;
use tokio::time;

use crate::admissions::{Admissions, Totals};
use crate::clock;
use crate::foreign;
use crate::monitor::{Monitor, Samples, Stalls, WeakMonitor};
use crate::sample::Sample;
use crate::stall::Stall;

/// How often an exporter that wants ticks gets one if nothing is published meanwhile.
const TICK: Duration = Duration::from_millis(100);

/// Exports one monitor.
pub(crate) trait Exporter: Send + 'static {
    /// Called once, before everything else.
    fn begin(&mut self) {}

    fn sample(&mut self, sample: &Sample, now: Instant);

    fn stall(&mut self, stall: &Stall, now: Instant);

    /// Whether `tick` has to be called as time passes.
    fn wants_tick(&self) -> bool;

    /// Called as time passes.
    fn tick(&mut self, now: Instant);

    /// Called with what shedding policies have admitted and refused, if there was ever one: with each
    /// sample, as time passes, and before `detached`.
    fn requests(&mut self, _: &Totals) {}

    /// Called when the monitor is detached, after which it may be attached again, or when the export
    /// ends.
    fn detached(&mut self);
}

/// Everything that a monitor publishes from the moment this was created.
pub(crate) struct Feed {
    run: Run,
    monitor: WeakMonitor,
}

impl Feed {
    pub(crate) fn of(monitor: &Monitor) -> Feed {
        Feed {
            run: Run::subscribe(monitor),
            monitor: monitor.downgrade(),
        }
    }

    /// Passes everything to the exporter, until the monitor is gone or the export is finished.
    pub(crate) async fn serve(self, exporter: &mut impl Exporter, finished: oneshot::Receiver<()>) {
        let Feed { mut run, monitor } = self;
        let mut finish = pin!(async move {
            if finished.await.is_err() {
                // The `Export` was dropped, not finished.
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
}

/// What a monitor publishes while it is attached once.
struct Run {
    samples: Samples,
    stalls: Stalls,
    admissions: Arc<Admissions>,
}

impl Run {
    fn subscribe(monitor: &Monitor) -> Run {
        Run {
            samples: monitor.subscribe(),
            stalls: monitor.stalls(),
            admissions: Arc::clone(monitor.admissions()),
        }
    }

    /// Exports the whole run, or what has been published when `finish` completes. Returns whether it
    /// has completed.
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
            guard(|| dispatch(&event, exporter));
            guard(|| requests(&self.admissions, exporter));
            // Much may be buffered, and other monitors share the thread.
            consume_budget().await;
        }
        let finishes = events.take_result().is_some();
        let mut rest = events.into_inner();
        // The end of a stall is published shortly after the monitor has been stopped.
        while let Some(event) = if detached {
            rest.next().await
        } else {
            rest.next().now_or_never().flatten()
        } {
            detached |= matches!(event, Event::Detached);
            guard(|| dispatch(&event, exporter));
        }
        guard(|| requests(&self.admissions, exporter));
        guard(|| exporter.detached());
        finishes
    }
}

enum Event {
    Sample(Sample),
    Stall(Stall),
    /// The stream of samples has ended.
    Detached,
    /// Nothing was published for the length of a tick.
    Tick,
}

async fn next(events: &mut (impl Stream<Item = Event> + Unpin), wants_tick: bool) -> Option<Event> {
    if !wants_tick {
        return events.next().await;
    }
    let event = time::timeout(TICK, events.next()).await;
    event.unwrap_or(Some(Event::Tick))
}

fn dispatch(event: &Event, exporter: &mut impl Exporter) {
    let now = clock::now();
    match event {
        Event::Sample(sample) => exporter.sample(sample, now),
        Event::Stall(stall) => exporter.stall(stall, now),
        Event::Detached | Event::Tick => {}
    }
    // Frequent samples would keep the timeout from ever expiring.
    if exporter.wants_tick() {
        exporter.tick(now);
    }
}

/// Passes on what was counted, if there is somebody who counts.
fn requests(admissions: &Admissions, exporter: &mut impl Exporter) {
    if let Some(totals) = admissions.to_export() {
        exporter.requests(&totals);
    }
}

/// Catches a panic of a recorder, a subscriber or an SDK. The panic hook has reported it.
pub(crate) fn guard<R>(call: impl FnOnce() -> R) -> Option<R> {
    foreign::call(call).ok()
}
