//! The sampler of the blocking pool: lag as the time that a job waits for one of the pool's threads.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use super::{Sampler, SleepSampler};
use crate::clock;
use crate::error::Error;
use crate::foreign;
use crate::pool_job::PoolJob;
use crate::sync::Lock;

/// Gives a short job to the runtime's blocking pool and reports how long the job waited for a thread.
///
/// That is how long work waits in `spawn_blocking`, in `tokio::fs`, and in `tokio::net` when it looks up a name.
/// `block_in_place` gets a thread for its worker from the same pool. When all `max_blocking_threads` are in
/// use, all of them wait, but no worker is stuck and no task is late. So the other samplers and stall detection
/// do not show it.
///
/// Give the pool a monitor of its own, beside that of the runtime:
///
/// ```
/// use std::time::Duration;
/// use loopmon::{BlockingPoolSampler, Monitor, SampleStreamExt};
/// use tokio_stream::StreamExt;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Builder::new_current_thread()
///     .enable_all()
///     .max_blocking_threads(1)
///     .build()?;
/// # runtime.block_on(async {
/// let monitor = Monitor::builder()
///     .name("blocking-pool")
///     .interval(Duration::from_millis(10))
///     .sampler(BlockingPoolSampler::new())
///     .install()?;
/// let mut waits = monitor.subscribe().lag_above(Duration::from_millis(100));
///
/// // The only thread of the pool is in use.
/// let (release, released) = std::sync::mpsc::channel::<()>();
/// tokio::task::spawn_blocking(move || released.recv());
///
/// // The lag grows while the pool is full.
/// while monitor.lag() < Duration::from_millis(300) {
///     tokio::time::sleep(Duration::from_millis(10)).await;
/// }
/// // Then one sample has all of the wait.
/// drop(release);
/// assert!(waits.next().await.unwrap().lag > Duration::from_millis(100));
/// # Ok::<(), loopmon::Error>(())
/// # })?;
/// # Ok(())
/// # }
/// ```
///
/// # What it can and cannot measure
///
/// Lag is the time from when the job is given to the pool until a thread of the pool has done it, which is
/// microseconds of work. How busy the workers are plays no part. If a thread of the pool is idle, lag is the
/// time to wake it; if none is, the time to start one; if there may be no more threads, the wait for one.
///
/// One job at a time is in the pool. While it waits there is no sample, but [`Monitor::lag`] grows. A pool that
/// fills up between two samples and is still full at the second is reported up to one interval short. One that
/// is full only between two samples does not show.
///
/// `Sample::tasks` does not count work in the pool.
///
/// # It changes what it measures
///
/// A thread of the pool ends when it has had nothing to do for ten seconds (Tokio's `thread_keep_alive`). Each
/// job mostly goes to the thread that has been idle longest, and thereby keeps it. So after a burst of work, as many
/// idle threads stay as there are samples in that time: up to 100 at the default interval, up to 10 at an
/// interval of a second, which is right for most programs. With an interval longer than `thread_keep_alive` no
/// thread stays, and each sample of an idle pool starts one.
///
/// Like the [`WakeSampler`], it wakes a parked worker from outside. On `multi_thread`, that worker then takes over
/// timers and I/O from one that is stuck.
///
/// # Stopping
///
/// Nothing waits for the job: not [`Monitor::stop`], [`Monitor::stopped`] or the shutdown of the runtime. A job
/// that waits in a full pool when the monitor stops stays there until a thread has done it. If the monitor is
/// installed on the same runtime again meanwhile, it goes on to wait for that job, and gives no other.
///
/// # Where the system refuses threads
///
/// `spawn_blocking` panics if the pool has no thread and the system refuses it one. The sampler does not: it goes
/// on to wait. Tokio keeps each job that it refuses, so the sampler gives another one only at doubling
/// distances, and may need as long as there was no thread to notice that there is one.
///
/// # The paused clock
///
/// With the paused clock of `tokio::time::pause` the interval and the lag are virtual, and the lag is zero. Tokio
/// does not advance the clock by itself while the pool works. If a test does so by `tokio::time::advance`, the
/// lag is what passed while the job waited.
///
/// # Cost
///
/// A sample wakes the runtime for a timer, a thread of the pool, and the runtime again, and Tokio allocates once for
/// the job. That takes 1.3 times (at an interval of 100 ms) to 1.9 times (at 1 ms) the CPU time of a
/// [`SleepSampler`]'s sample. On an idle pool the median of the lag is 0.02 to 0.04 ms. `benches/README.md` in the
/// repository has the figures.
///
/// # Errors
///
/// [`start`](Sampler::start) fails on a runtime without timers, as with the [`SleepSampler`], and where `/dev/null`
/// (`NUL` on Windows) cannot be opened: the job is to write a byte there. The file stays open, as one descriptor.
///
/// # Cancel safety
///
/// A measurement can be dropped at any point. The next one of the same sampler waits for the same job if that
/// still waits, and otherwise begins anew.
///
/// [`Monitor::lag`]: crate::Monitor::lag
/// [`Monitor::stop`]: crate::Monitor::stop
/// [`Monitor::stopped`]: crate::Monitor::stopped
/// [`WakeSampler`]: crate::WakeSampler
#[derive(Debug, Default)]
pub struct BlockingPoolSampler {
    /// A probe that no pool has.
    idle: Option<Probe>,
    /// The probe that a pool has. It stays here when its measurement is dropped, so that the next measurement
    /// does not add a second job to the same pool.
    given: Option<Given>,
}

/// A sampler that has not given a job to a pool yet: its name alone is one, as with
/// [`SleepSampler`](crate::SleepSampler).
#[allow(non_upper_case_globals, reason = "it is named like its type")]
pub const BlockingPoolSampler: BlockingPoolSampler = BlockingPoolSampler::new();

impl BlockingPoolSampler {
    /// A sampler that has not given a job to a pool yet.
    #[must_use]
    pub const fn new() -> BlockingPoolSampler {
        BlockingPoolSampler {
            idle: None,
            given: None,
        }
    }

    /// Takes the probe of an earlier measurement, if it still waits in the pool of the current runtime.
    fn take_waiting(&mut self) -> Option<Given> {
        let mut given = self.given.take()?;
        if given.probe.waits() {
            return (given.runtime == Handle::current().id()).then_some(given);
        }
        self.idle = Some(given.probe);
        None
    }

    /// Gives a probe to the pool of the current runtime.
    async fn give(&mut self, interval: Duration) -> Given {
        let at = clock::tokio_now();
        let mut pause = interval;
        loop {
            if let Ok(probe) = self.try_give() {
                let runtime = Handle::current().id();
                return Given { probe, runtime, at };
            }
            // Tokio keeps a job that it refuses, so the attempts become rare.
            SleepSampler.measure(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    fn try_give(&mut self) -> io::Result<Probe> {
        let mut probe = match self.idle.take() {
            Some(idle) => idle,
            None => Probe::new()?,
        };
        match probe.give() {
            Ok(()) => Ok(probe),
            Err(refused) => {
                self.idle = Some(probe);
                Err(refused)
            }
        }
    }
}

impl Sampler for BlockingPoolSampler {
    /// Fails if the runtime has no timers, or if the system refuses a file descriptor.
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        SleepSampler.start(interval)?;
        if self.idle.is_none() && self.given.is_none() {
            self.idle = Some(Probe::new().map_err(Error::sampler_failed)?);
        }
        Ok(())
    }

    async fn measure(&mut self, interval: Duration) -> Duration {
        SleepSampler.measure(interval).await;
        let given = match self.take_waiting() {
            Some(waiting) => waiting,
            None => self.give(interval).await,
        };
        // Kept there while it waits, as this future may be dropped.
        let given = self.given.insert(given);
        let ran_at = given.probe.ran().await;
        let lag = ran_at.saturating_duration_since(given.at);
        self.idle = self.given.take().map(|given| given.probe);
        lag
    }
}

/// A probe that was given to a pool.
#[derive(Debug)]
struct Given {
    probe: Probe,
    runtime: Id,
    at: Instant,
}

/// A job, and when it ran.
#[derive(Debug)]
struct Probe {
    job: PoolJob,
    completion: Arc<Completion>,
}

impl Probe {
    fn new() -> io::Result<Probe> {
        Ok(Probe {
            job: PoolJob::new()?,
            completion: Arc::default(),
        })
    }

    fn give(&mut self) -> io::Result<()> {
        self.completion.reset();
        self.job.give()
    }

    /// Whether the job was given and has not run.
    fn waits(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.job.poll_done(&mut cx).is_pending()
    }

    /// Waits until the job has run. Returns when that was.
    async fn ran(&mut self) -> Instant {
        let Probe { job, completion } = self;
        let waker = Waker::from(Arc::clone(completion));
        let _listens = Listens(completion);
        poll_fn(|cx| {
            // Before the check, so that the completion is not missed.
            completion.listen(cx.waker());
            let done = job.poll_done(&mut Context::from_waker(&waker));
            // A job that ran before the first poll woke nobody.
            done.map(|()| completion.at().unwrap_or_else(clock::tokio_now))
        })
        .await
    }
}

/// Reads the clock on the pool's thread. When the sampler's task has its turn depends on the workers.
#[derive(Debug, Default)]
struct Completion(Lock<CompletionState>);

#[derive(Debug, Default)]
struct CompletionState {
    at: Option<Instant>,
    /// Wakes the task of the sampler.
    waker: Option<Waker>,
}

impl Completion {
    fn reset(&self) {
        self.0.with(|state| state.at = None);
    }

    fn at(&self) -> Option<Instant> {
        self.0.with(|state| state.at)
    }

    fn listen(&self, waker: &Waker) {
        // A waker is foreign code, so it is cloned and dropped outside of the lock.
        let mut waker = Some(waker.clone());
        self.0.with(|state| mem::swap(&mut state.waker, &mut waker));
    }

    fn take_waker(&self) -> Option<Waker> {
        self.0.with(|state| state.waker.take())
    }
}

impl Wake for Completion {
    fn wake(self: Arc<Self>) {
        let now = clock::tokio_now();
        self.0.with(|state| state.at = Some(now));
        if let Some(waker) = self.take_waker() {
            // The sampler may be polled by any executor, whose waker may panic.
            foreign::call(|| waker.wake()).ok();
        }
    }
}

/// Keeps no waker of a task that waits no more.
struct Listens<'a>(&'a Completion);

impl Drop for Listens<'_> {
    fn drop(&mut self) {
        foreign::discard(self.0.take_waker());
    }
}
