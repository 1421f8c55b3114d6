//! Stalls and pauses as events of the `tracing` crate, and samples at `TRACE`.

mod excerpt;
mod limit;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::tracing::{info, trace, warn};

use super::Export;
use super::feed::{Exporter, Exports};
use super::names::Name;
use crate::clock;
use crate::error::Error;
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::stall::{Phase, Stall};
use crate::watchdog::{Pauses, pauses};
use excerpt::Excerpt;
use limit::Limit;

static EXPORTS: Exports = Exports::on("loopmon-tracing");

/// How many pauses have been told, and how long they were: they are the process's, not a monitor's.
static TOLD: Mutex<(u64, Duration)> = Mutex::new((0, Duration::ZERO));

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
/// | `loopmon::stall` | `WARN` | `worker stalled`, `worker still stalled`, `worker was stalled` | `monitor`, `index`, `worker`, `phase` (`started`, `ongoing`, `ended`), `duration_seconds`, `cause`, `syscall`, `thread.name`, `thread.id`, `task`, `began_at`, `missed`, `suppressed`, `stack` |
/// | `loopmon::stall` | `WARN` | `stalls not told` | `monitor`, `index`, `suppressed` |
/// | `loopmon::pause` | `INFO` | `the process did not run` | `pauses`, `duration_seconds`, `ended_at` |
/// | `loopmon::sample` | `TRACE` | `sample` | `monitor`, `index`, `lag_seconds`, `tasks`, `queue_depth`, `busy`, `missed` |
///
/// `monitor` is the [name](crate::Builder::name) of the monitor, or `unnamed`; `index` tells it from
/// [others of that name](crate::export#several-monitors). `cause` is `blocked`, `on_cpu`, `many_polls`,
/// `unattended`, `starved` or `unknown`, as in [`Cause`](crate::Cause). `stack` has the stack, with the
/// `stack` feature: 20 lines of it at most, of the innermost and outermost calls, and in any case the
/// innermost call of your own code and its caller. A stream or a callback of stalls has all of it. What
/// is not known of a stall is not a field of its event. Pauses are those that [`pauses`](crate::pauses)
/// counts, told once, whatever number of monitors is exported.
///
/// # When there are many stalls
///
/// Ten stalls of a monitor are told in a row, and after that one more for each second. One that is
/// told is told to its end, and so is one that goes on to twice the threshold. Of those that are not, the next report says in `suppressed` how many
/// reports there were; once there has been room for ten again, an event of its own does.
///
/// # The subscriber
///
/// It is the global one: what `tracing::subscriber::with_default` sets counts for the thread that
/// calls it, and this exporter has its own. It may be set later. While there is none, everything goes
/// nowhere. A subscriber that blocks holds up this exporter alone, for all monitors.
#[derive(Debug, Clone, Default)]
#[must_use = "an exporter does nothing until it is started"]
#[non_exhaustive]
pub struct Tracing {}

impl Tracing {
    /// An exporter to the global subscriber.
    pub fn new() -> Tracing {
        Tracing::default()
    }

    /// Exports what `monitor` tells from now on.
    ///
    /// # Errors
    ///
    /// If this monitor is exported here already, or if the operating system refuses the thread.
    pub fn start(self, monitor: &Monitor) -> Result<Export, Error> {
        EXPORTS.start(monitor, |name| ToSubscriber::new(name, clock::now()))
    }
}

/// Tells of one monitor.
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

    fn tell_rest(&self, suppressed: Option<u64>) {
        if let Some(suppressed) = suppressed {
            let Name { monitor, .. } = &self.name;
            let index = self.name.index();
            warn!(target: "loopmon::stall", monitor, index, suppressed, "stalls not told");
        }
    }
}

impl Exporter for ToSubscriber {
    fn sample(&mut self, sample: &Sample, _: Instant) {
        tell_pauses(pauses(), &TOLD);
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
        tell_pauses(pauses(), &TOLD);
        if let Some(suppressed) = self.limit.admit(stall, now) {
            tell(&self.name, stall, suppressed);
        }
    }

    fn wants_tick(&self) -> bool {
        self.limit.has_rest()
    }

    fn tick(&mut self, now: Instant) {
        let suppressed = self.limit.rest(now);
        self.tell_rest(suppressed);
    }

    fn detached(&mut self) {
        let suppressed = self.limit.take_rest();
        self.tell_rest(suppressed);
    }
}

fn tell(name: &Name, stall: &Stall, suppressed: u64) {
    let (phase, message) = match stall.phase {
        Phase::Started => ("started", "worker stalled"),
        Phase::Ongoing => ("ongoing", "worker still stalled"),
        Phase::Ended => ("ended", "worker was stalled"),
    };
    let thread = stall.thread.as_ref();
    warn!(
        target: "loopmon::stall",
        monitor = name.monitor,
        index = name.index(),
        worker = stall.worker(),
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
        stack = stall.trace.as_deref().map(|trace| ::tracing::field::display(Excerpt(trace))),
        "{message}"
    );
}

fn some_if_any(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn tell_pauses(pauses: Pauses, told: &Mutex<(u64, Duration)>) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, total) = *told;
    let Some(last) = pauses.last.filter(|_| pauses.count > count) else {
        return;
    };
    *told = (pauses.count, pauses.total);
    // A subscriber may take its time, and may panic.
    drop(told);
    info!(
        target: "loopmon::pause",
        pauses = pauses.count - count,
        duration_seconds = pauses.total.saturating_sub(total).as_secs_f64(),
        ended_at = %last.ended_at,
        "the process did not run"
    );
}
