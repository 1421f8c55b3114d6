//! The life of one monitor: installed, read, stopped, and again, until its runtime ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::OptionFuture;
use loopmon::{
    BlockingPoolSampler, Error, Monitor, Sample, Sampler, Samples, SleepSampler, Stall, WakeSampler,
};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::linux::diary::{Diary, THRESHOLD, follow};
use crate::linux::faults::{MEANT, below, between, fault};

/// Counts what another sampler has measured.
struct Counting<S>(S, Arc<AtomicU64>);

impl<S: Sampler> Sampler for Counting<S> {
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        self.0.start(interval)
    }

    async fn measure(&mut self, interval: Duration) -> Duration {
        let lag = self.0.measure(interval).await;
        self.1.fetch_add(1, Ordering::SeqCst);
        lag
    }
}

/// A monitor, and what is to happen to it.
pub(crate) struct Kept {
    pub(crate) who: String,
    monitor: Monitor,
    measured: Arc<AtomicU64>,
    /// The first of a runtime lives as long as that, and its reports are taken down.
    is_first: bool,
    wants_stalls: bool,
}

impl Kept {
    pub(crate) fn new(slot: usize, index: usize) -> Kept {
        let measured = Arc::new(AtomicU64::new(0));
        let count = || Arc::clone(&measured);
        let builder = Monitor::builder()
            .name(format!("{slot}/{index}"))
            .interval(between(60, 300))
            .capacity(if index % 2 == 0 { 8 } else { 1_000 })
            .stall_threshold(THRESHOLD);
        let builder = match index % 5 {
            0 => builder.sampler(Counting(WakeSampler::new(), count())),
            1 => builder.sampler(Counting(BlockingPoolSampler::new(), count())),
            _ => builder.sampler(Counting(SleepSampler, count())),
        };
        let builder = match index % 4 {
            2 => builder.callback(async |_: Sample| assert!(below(4) > 0, "{MEANT}")),
            3 => builder.stall_callback(async |_: Stall| assert!(below(2) > 0, "{MEANT}")),
            _ => builder,
        };
        Kept {
            who: format!("monitor {slot}/{index}"),
            monitor: builder.build().unwrap(),
            measured,
            is_first: index == 0,
            wants_stalls: index % 8 == 0,
        }
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Installs the monitor again and again, on the runtime or on the current one.
    pub(crate) async fn keep(self, runtime: Option<Handle>, until: Instant, diary: Arc<Diary>) {
        while Instant::now() < until && self.run(runtime.as_ref(), until, &diary).await {
            sleep(between(0, 50)).await;
        }
    }

    /// Returns whether the runtime goes on.
    async fn run(&self, runtime: Option<&Handle>, until: Instant, diary: &Diary) -> bool {
        let before = self.measured.load(Ordering::SeqCst);
        let readers = [self.monitor.subscribe(), self.monitor.subscribe()];
        let stalls = self.wants_stalls.then(|| self.monitor.stalls());
        let installed = match runtime {
            Some(runtime) => self.monitor.install_on(runtime),
            None => self.monitor.install(),
        };
        if let Err(refused) = installed {
            if refused.is_runtime_shut_down() {
                return false;
            }
            let is_short = refused.is_thread_refused() || refused.is_descriptors_refused();
            if !is_short && !refused.is_sampler_failed() {
                fault(&format!("{}: {refused}", self.who));
            }
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        let life = if self.is_first {
            left
        } else {
            left.min(between(200, 8_000))
        };
        let stop = async {
            sleep(life).await;
            self.monitor.stop();
            self.monitor.stopped().await;
        };
        let diary = self.is_first.then_some(diary);
        let stalls = OptionFuture::from(stalls.map(|stalls| follow(&self.who, stalls, diary)));
        let [fast, slow] = readers;
        let pause = Duration::from_millis(400);
        let (fast, slow, _, ()) =
            tokio::join!(read(fast, Duration::ZERO), read(slow, pause), stalls, stop);
        let measured = self.measured.load(Ordering::SeqCst) - before;
        // What is measured last may have been measured while the monitor was stopped.
        if fast != slow || !(measured.saturating_sub(1)..=measured).contains(&fast) {
            let who = &self.who;
            fault(&format!(
                "{who}: {measured} measured, {fast} and {slow} read or missed"
            ));
        }
        true
    }
}

/// Reads to the end. Returns how many samples were read or missed.
async fn read(mut samples: Samples, pause: Duration) -> u64 {
    let (mut received, mut missed) = (0, 0);
    while let Some(sample) = samples.next().await {
        received += 1;
        missed += sample.missed;
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    // What was lost after the last sample that was received is in no sample.
    if samples.missed() < missed {
        fault("a reader has missed less than its samples say");
    }
    received + samples.missed()
}
