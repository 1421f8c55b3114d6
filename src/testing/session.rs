//! One watch of code under test: a monitor of its own, which takes no samples, and all that it has reported in the
//! end.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor, worker_index};

use super::long_polls::{LongPolls, Watched, are_measured};
use super::regions::{Inside, Recording};
use super::settings::Settings;
use super::verdict::{Knowledge, Seen};
use crate::clock;
use crate::error::Error;
use crate::monitor::{Monitor, Stalls};
use crate::runtime::RuntimeTasks;
use crate::sampler::Sampler;
use crate::stack::plain_path;
use crate::stall::{Stall, StallId};
use crate::watchdog::paused_between;

/// How many reports are kept.
const MOST_REPORTS: usize = 1_024;

/// How long the workers of a runtime are waited for until each was seen on its thread. It takes far less, but on a
/// crowded machine.
const LONGEST_START: Duration = Duration::from_millis(50);

/// Stacks are waited for a minute at the most.
const LONGEST_END: Duration = Duration::from_secs(75);

/// How often to check what is waited for.
const CHECK_INTERVAL: Duration = Duration::from_micros(20);

#[derive(Debug)]
pub(super) struct Session {
    monitor: Monitor,
    stalls: Stalls,
    polls: Arc<LongPolls>,
    regions: Recording,
}

/// Takes no samples.
struct NoSamples;

impl Sampler for NoSamples {
    async fn measure(&mut self, _: Duration) -> Duration {
        pending().await
    }
}

impl Session {
    /// Watches the polls of futures, and the workers and the root future of a runtime.
    pub(super) fn begin(settings: &Settings, runtime: Option<&Handle>) -> Result<Session, Error> {
        let monitor = Monitor::builder()
            .capacity(1)
            .sampler(NoSamples)
            .stall_threshold(settings.threshold)
            .stall_capacity(MOST_REPORTS)
            .stack_capture(settings.stack_capture.clone())
            .for_test()
            .build()?;
        let session = Session {
            stalls: monitor.stalls(),
            monitor,
            polls: LongPolls::new(settings.threshold),
            regions: Recording::begin(),
        };
        if let Some(runtime) = runtime {
            session.monitor.install_on(runtime)?;
            await_workers(runtime);
        }
        Ok(session)
    }

    /// Watches the polls of a future.
    pub(super) fn watch_future<F: Future>(&self, future: F) -> Result<Watched<F>, Error> {
        let name: Arc<str> = plain_path(std::any::type_name::<F>()).into();
        let future = self.monitor.try_instrument(Arc::clone(&name), future)?;
        Ok(Watched::new(future, name, Arc::clone(&self.polls)))
    }

    /// Ends the watch, and judges what it has seen.
    pub(super) fn end(&mut self, settings: &Settings) -> Vec<Seen> {
        let over = clock::now();
        // To whoever watches this code as well, it is allowed to wait.
        let waits = Inside::enter();
        self.monitor.stop();
        let reports = self.all_reports();
        drop(waits);
        let (polls, bursts) = (self.polls.take(), self.polls.bursts.take());
        let knowledge = Knowledge {
            threshold: settings.threshold,
            over,
            polls: &polls,
            bursts: &bursts,
            allowed: &|thread, from, to| self.regions.overlap(thread, from, to),
            paused: &paused_between,
            has_evidence: are_measured(),
        };
        knowledge.judge(reports)
    }

    /// How many reports were lost.
    pub(super) fn missed(&self) -> u64 {
        self.stalls.missed()
    }

    /// All reports until the end of the stream, by stall.
    #[inline(never)]
    fn all_reports(&mut self) -> Vec<Vec<Stall>> {
        let until = clock::now() + LONGEST_END;
        let mut index_of: HashMap<StallId, usize> = HashMap::new();
        let mut all: Vec<Vec<Stall>> = Vec::new();
        loop {
            match self.stalls.try_next() {
                Poll::Ready(Some(stall)) => {
                    let index = *index_of.entry(stall.id).or_insert(all.len());
                    if index == all.len() {
                        all.push(Vec::new());
                    }
                    all[index].push(stall);
                }
                Poll::Pending if clock::now() < until => thread::sleep(CHECK_INTERVAL),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        for reports in &mut all {
            // Those without a stack have overtaken others.
            reports.sort_by_key(|report| report.measured.at);
        }
        all
    }
}

/// The calls of a thread that waits for the reports: what it has blocked in before is over.
pub(super) const IS_OVER: &str = "loopmon::testing::session::Session::all_reports";

/// Waits until each worker was seen on its thread, but not for long.
fn await_workers(runtime: &Handle) {
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread || worker_index().is_some() {
        return;
    }
    let workers = runtime.metrics().num_workers();
    let tasks = RuntimeTasks::of(runtime);
    let threads = tasks.worker_threads(workers);
    let until: Instant = clock::now() + LONGEST_START;
    while !(0..workers).all(|index| threads.number(index).is_some()) && clock::now() < until {
        thread::sleep(CHECK_INTERVAL);
    }
}
