//! The other sampler: lag as the time that a woken task waits for its turn.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Sampler;
use crate::clock;
use crate::error::{Error, Kind};
use crate::foreign;
use crate::sync::Lock;
use crate::threads;

/// Wakes a parked task from a thread and reports how long the task waited for its turn.
///
/// It needs no timers. So it works on a runtime without `enable_time`, and resolves microseconds where timers
/// resolve milliseconds: on an idle runtime it reports the machine's wake-up latency. With the paused clock of
/// `tokio::time::pause` it continues in real time.
///
/// # It changes what it measures
///
/// To wake a task from outside wakes a parked worker. On a `multi_thread` runtime that worker then takes over
/// timers and I/O, which would otherwise wait for the stuck worker that polls them. A wake every 10 ms
/// lowered the 99th percentile of an application timer from 100 ms to 4.5 ms while another worker was stuck.
/// So frequent wakes hide the starvation that they should detect. On `multi_thread`, keep the interval at
/// 100 ms or more, or use the [`SleepSampler`], unless you want that effect.
///
/// Like the [`SleepSampler`] it detects a stuck worker only if no other worker runs the task, and its lag is up
/// to one interval short.
///
/// # Threads
///
/// The thread starts with a run and is named `loopmon-wake`. It ends when the monitor stops, or an interval
/// later if the monitor stopped between two measurements. If the operating system refuses the thread,
/// [`start`](Sampler::start) fails, and the monitor is not installed.
///
/// # Panics
///
/// The thread ends by itself if the runtime takes longer than an interval to begin a measurement. If the
/// operating system then refuses a new thread, the measurement panics, which ends the monitor.
///
/// [`SleepSampler`]: crate::SleepSampler
#[derive(Debug, Default)]
pub struct WakeSampler {
    alarm: Option<Alarm>,
}

impl WakeSampler {
    /// A sampler whose thread has not started yet.
    #[must_use]
    pub const fn new() -> WakeSampler {
        WakeSampler { alarm: None }
    }
}

impl Sampler for WakeSampler {
    fn start(&mut self, interval: Duration) -> Result<(), Error> {
        let alarm = Alarm::start(interval, ProbeState::Idle);
        self.alarm = Some(alarm.map_err(|refused| Error::new(Kind::ThreadRefused, refused))?);
        Ok(())
    }

    async fn measure(&mut self, interval: Duration) -> Duration {
        // The waiting future owns the alarm, so dropping the future ends the thread, too.
        let alarm = self
            .alarm
            .take()
            .filter(|alarm| alarm.interval == interval && alarm.probe.arm());
        let alarm = alarm.unwrap_or_else(|| {
            Alarm::start(interval, ProbeState::armed())
                .expect("loopmon: the operating system refused the wake sampler's thread")
        });
        let woken_at = poll_fn(|cx| alarm.probe.poll_woken(cx)).await;
        let lag = clock::now().saturating_duration_since(woken_at);
        self.alarm = Some(alarm);
        lag
    }
}

/// The thread, and the state that it shares with the task that it wakes. Dropping this ends the thread.
#[derive(Debug)]
struct Alarm {
    interval: Duration,
    probe: Arc<Probe>,
    /// Ends the thread when it is dropped. Nothing is ever sent.
    _alive: mpsc::Sender<()>,
}

impl Alarm {
    fn start(interval: Duration, state: ProbeState) -> io::Result<Alarm> {
        let probe = Arc::new(Probe(Lock::new(state)));
        let (alive, ended) = mpsc::channel();
        let shared = Arc::clone(&probe);
        threads::spawn("loopmon-wake", move || ring(&shared, interval, &ended))?;
        Ok(Alarm {
            interval,
            probe,
            _alive: alive,
        })
    }
}

/// Wakes the task every interval, until `ended` is disconnected or nothing measures any more.
///
/// The thread keeps its own time. To send it the time of the next ring would cost another wake-up.
fn ring(probe: &Probe, interval: Duration, ended: &mpsc::Receiver<()>) {
    let mut wait = interval;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        match probe.ring(clock::now(), interval) {
            Some(next) => wait = next,
            None => return,
        }
    }
}

/// The state that the thread and the task share.
#[derive(Debug)]
struct Probe(Lock<ProbeState>);

#[derive(Debug)]
enum ProbeState {
    Armed {
        at: Instant,
        waker: Option<Waker>,
    },
    Woken {
        at: Instant,
    },
    /// The task has its lag. It arms the probe again soon, unless the run is over.
    Idle,
    /// The thread has ended.
    Ended,
}

impl ProbeState {
    fn armed() -> ProbeState {
        ProbeState::Armed {
            at: clock::now(),
            waker: None,
        }
    }
}

impl Probe {
    /// Returns whether the thread still runs and will wake the task.
    fn arm(&self) -> bool {
        self.0.with(|state| {
            if matches!(state, ProbeState::Ended) {
                return false;
            }
            *state = ProbeState::armed();
            true
        })
    }

    fn poll_woken(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        // A waker is foreign code, so it is cloned and dropped outside of the lock.
        let mut waker = Some(cx.waker().clone());
        self.0.with(|state| match state {
            ProbeState::Woken { at } => {
                let at = *at;
                *state = ProbeState::Idle;
                Poll::Ready(at)
            }
            ProbeState::Armed { waker: before, .. } => {
                mem::swap(before, &mut waker);
                Poll::Pending
            }
            ProbeState::Idle | ProbeState::Ended => Poll::Pending,
        })
    }

    /// Wakes the task if it has waited for the interval. Returns how long to wait until the next ring, or
    /// `None` if the run is over.
    fn ring(&self, now: Instant, interval: Duration) -> Option<Duration> {
        let mut waker = None;
        let next = self.0.with(|state| {
            let at = match state {
                ProbeState::Armed { at, .. } => *at,
                // The task has not run since the last ring: the runtime is stuck.
                ProbeState::Woken { .. } => return Some(interval),
                // To arm again takes microseconds, so the run is over.
                ProbeState::Idle | ProbeState::Ended => {
                    *state = ProbeState::Ended;
                    return None;
                }
            };
            let left = interval.saturating_sub(now.saturating_duration_since(at));
            // The task arms the probe a little after it was woken. An eighth too early is accurate enough;
            // to wait for the rest would cost a second wake-up each time.
            if left > interval / 8 {
                return Some(left);
            }
            if let ProbeState::Armed { waker: waits, .. } = state {
                waker = waits.take();
            }
            *state = ProbeState::Woken { at: now };
            Some(interval)
        });
        if let Some(waker) = waker {
            // The sampler may be polled by any executor, whose waker may panic.
            foreign::call(|| waker.wake()).ok();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(80);

    fn armed() -> Probe {
        Probe(Lock::new(ProbeState::armed()))
    }

    #[test]
    fn a_ring_wakes_the_waiting_task_once_and_records_when() {
        let probe = armed();
        let mut waiting = task::spawn(poll_fn(|cx| probe.poll_woken(cx)));
        assert_pending!(waiting.poll());
        let rang = clock::now() + INTERVAL;
        assert_eq!(probe.ring(rang, INTERVAL), Some(INTERVAL));
        assert!(waiting.is_woken());
        // The runtime is stuck and does not poll the task: later rings change nothing.
        assert_eq!(probe.ring(rang + INTERVAL, INTERVAL), Some(INTERVAL));
        assert_ready_eq!(waiting.poll(), rang);
    }

    #[test]
    fn a_ring_that_comes_too_early_waits_for_the_rest() {
        let probe = armed();
        let early = clock::now() + INTERVAL / 2;
        let left = probe.ring(early, INTERVAL).unwrap();
        assert!(left > INTERVAL / 3 && left <= INTERVAL / 2, "{left:?}");
        assert_eq!(probe.ring(early + left, INTERVAL), Some(INTERVAL));
        assert!(
            probe
                .0
                .with(|state| matches!(state, ProbeState::Woken { .. }))
        );
    }

    #[test]
    fn a_ring_before_the_first_poll_is_not_lost() {
        let probe = armed();
        let rang = clock::now() + INTERVAL;
        probe.ring(rang, INTERVAL);
        let mut waiting = task::spawn(poll_fn(|cx| probe.poll_woken(cx)));
        assert_ready_eq!(waiting.poll(), rang);
    }

    #[test]
    fn the_thread_ends_when_nobody_measures_any_more() {
        let probe = armed();
        let rang = clock::now() + INTERVAL;
        probe.ring(rang, INTERVAL);
        let mut waiting = task::spawn(poll_fn(|cx| probe.poll_woken(cx)));
        assert_ready_eq!(waiting.poll(), rang);
        assert_eq!(probe.ring(rang + INTERVAL, INTERVAL), None);
        // A task that arms too late has to start another thread.
        assert!(!probe.arm());
    }

    #[test]
    fn the_thread_goes_on_while_somebody_measures() {
        let probe = armed();
        for _ in 0..3 {
            let rang = clock::now() + INTERVAL;
            assert_eq!(probe.ring(rang, INTERVAL), Some(INTERVAL));
            let mut waiting = task::spawn(poll_fn(|cx| probe.poll_woken(cx)));
            assert_ready_eq!(waiting.poll(), rang);
            assert!(probe.arm());
        }
    }
}
