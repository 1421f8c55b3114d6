//! Exports stalls, pauses and samples as events of the `tracing` crate. Counting stalls is for the
//! exporters of metrics.

mod excerpt;
mod limit;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::tracing::{info, trace, warn};

use super::Export;
use super::exports::Exports;
use super::names::Name;
use crate::clock;
use crate::error::Error;
use crate::feed::Exporter;
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::stack::StackTrace;
use crate::stall::{Phase, Stall};
use crate::watchdog::{Pauses, pauses};
use excerpt::Excerpt;
use limit::Limit;

static EXPORTS: Exports = Exports::on("loopmon-tracing");

/// The number and total duration of the pauses that have been logged. They are the process's, not a
/// monitor's.
static LOGGED: Mutex<(u64, Duration)> = Mutex::new((0, Duration::ZERO));

/// Exports to the global subscriber of the [`tracing`](https://docs.rs/tracing) crate.
///
/// ```
/// use loopmon::Monitor;
/// use loopmon::export::Tracing;
///
/// let monitor = Monitor::builder().name("main").build()?;
/// Tracing::new().start(&monitor)?;
/// # Ok::<(), loopmon::Error>(())
/// ```
///
/// # Events
///
/// | target | level | message | fields |
/// |---|---|---|---|
/// | `loopmon::stall` | `WARN` | `worker stalled`, `worker still stalled`, `worker was stalled`; `future` or `root future` for `worker` [elsewhere](crate::Place) | `monitor`, `index`, `worker` or `future`, `stall`, `phase` (`started`, `ongoing`, `ended`), `duration_seconds`, `cause`, `syscall`, `thread.name`, `thread.id`, `task`, `began_at`, `missed`, `suppressed`, `culprit`, `stack` |
/// | `loopmon::stall` | `WARN` | `stalls not logged` | `monitor`, `index`, `suppressed` |
/// | `loopmon::pause` | `INFO` | `the process did not run` | `pauses`, `duration_seconds`, `ended_at` |
/// | `loopmon::sample` | `TRACE` | `sample` | `monitor`, `index`, `lag_seconds`, `tasks`, `queue_depth`, `busy`, `missed` |
///
/// `monitor` is the [name](crate::Builder::name) of the monitor, or `unnamed`; `index` distinguishes it
/// from [others of that name](crate::export#several-monitors). `stall` is the
/// [id](crate::StallId) that all reports of one stall share. `cause` is `blocked`, `on_cpu`,
/// `many_polls`, `unattended`, `starved` or `unknown`, as in [`Cause`](crate::Cause). With the `stack`
/// feature, `culprit` has the [innermost call of your own code](crate::StackTrace::culprit) with file and
/// line, and `stack` has at most 20 lines of the stack: the innermost and outermost calls, and always the
/// culprit and its caller. Streams and callbacks of stalls get the whole stack. Unknown values are left out. The pauses are those of [`pauses`](crate::pauses); each is logged
/// once, however many monitors are exported.
///
/// # When there are many stalls
///
/// Ten stalls of a monitor are logged in a row, and after that one more each second. A stall once
/// logged, or past twice the threshold, is logged to its end. Other reports are dropped and counted in
/// `suppressed` of the next report; an event of its own has the count once ten stalls could be logged
/// in a row again.
///
/// # The subscriber
///
/// Events go to the global subscriber: `tracing::subscriber::with_default` applies to the thread that
/// calls it, and this exporter has its own thread. The subscriber may be set later; until then, events
/// are discarded. A subscriber that blocks delays this exporter alone, for all monitors.
#[derive(Debug, Clone, Default)]
#[must_use = "an exporter does nothing until it is started"]
#[non_exhaustive]
pub struct Tracing {}

impl Tracing {
    /// Creates an exporter to the global subscriber.
    pub fn new() -> Tracing {
        Tracing::default()
    }

    /// Exports what `monitor` publishes from now on.
    ///
    /// # Errors
    ///
    /// If this monitor is already exported here, or if the operating system refuses the exporter's
    /// thread or file descriptors.
    pub fn start(self, monitor: &Monitor) -> Result<Export, Error> {
        EXPORTS.start(monitor, |name| ToSubscriber::new(name, clock::now()))
    }
}

/// Exports one monitor.
struct ToSubscriber {
    name: Name,
    limit: Limit,
}

impl ToSubscriber {
    fn new(name: &Name, now: Instant) -> ToSubscriber {
        ToSubscriber {
            name: name.clone(),
            limit: Limit::new(now),
        }
    }

    fn log_suppressed(&self, suppressed: Option<u64>) {
        if let Some(suppressed) = suppressed {
            let Name { monitor, .. } = &self.name;
            let index = self.name.index();
            warn!(target: "loopmon::stall", monitor, index, suppressed, "stalls not logged");
        }
    }
}

impl Exporter for ToSubscriber {
    fn sample(&mut self, sample: &Sample, _: Instant) {
        log_pauses(pauses(), &LOGGED);
        trace!(
            target: "loopmon::sample",
            monitor = self.name.monitor,
            index = self.name.index(),
            lag_seconds = sample.lag.as_secs_f64(),
            tasks = sample.tasks,
            queue_depth = sample.queue_depth,
            busy = sample.busy,
            missed = sample.missed,
            "sample"
        );
    }

    fn stall(&mut self, stall: &Stall, now: Instant) {
        log_pauses(pauses(), &LOGGED);
        if let Some(suppressed) = self.limit.admit(stall, now) {
            log(&self.name, stall, suppressed);
        }
    }

    fn wants_tick(&self) -> bool {
        self.limit.has_rest()
    }

    fn tick(&mut self, now: Instant) {
        let suppressed = self.limit.rest(now);
        self.log_suppressed(suppressed);
    }

    fn detached(&mut self) {
        let suppressed = self.limit.take_rest();
        self.log_suppressed(suppressed);
    }
}

fn log(name: &Name, stall: &Stall, suppressed: u64) {
    let (phase, message) = match stall.phase {
        Phase::Started => ("started", "stalled"),
        Phase::Ongoing => ("ongoing", "still stalled"),
        Phase::Ended => ("ended", "was stalled"),
    };
    let thread = stall.thread.as_ref();
    let culprit = stall.trace.as_deref().and_then(StackTrace::culprit);
    warn!(
        target: "loopmon::stall",
        monitor = name.monitor,
        index = name.index(),
        worker = stall.worker(),
        future = stall.place.future().map(|name| &**name),
        stall = %stall.id,
        phase,
        duration_seconds = stall.duration.as_secs_f64(),
        cause = stall.cause.label(),
        syscall = stall.cause.syscall().map(::tracing::field::display),
        thread.name = thread.and_then(|thread| thread.name.as_deref()),
        thread.id = thread.and_then(|thread| thread.id),
        task = stall.task.map(::tracing::field::display),
        began_at = %stall.began_at,
        missed = some_if_any(stall.missed),
        suppressed = some_if_any(suppressed),
        culprit = culprit.map(|frame| ::tracing::field::display(frame.brief())),
        stack = stall.trace.as_deref().map(|trace| ::tracing::field::display(Excerpt(trace))),
        "{} {message}",
        stall.place.kind()
    );
}

fn some_if_any(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn log_pauses(pauses: Pauses, logged: &Mutex<(u64, Duration)>) {
    let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, total) = *logged;
    let Some(last) = pauses.last.filter(|_| pauses.count > count) else {
        return;
    };
    *logged = (pauses.count, pauses.total);
    // Before the subscriber is called, which may block or panic.
    drop(logged);
    info!(
        target: "loopmon::pause",
        pauses = pauses.count - count,
        duration_seconds = pauses.total.saturating_sub(total).as_secs_f64(),
        ended_at = %last.ended_at,
        "the process did not run"
    );
}
