//! Lag as the time a woken task waits for its turn.

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

/// A thread of its own wakes a parked task at a known instant; the lag is the time from there to
/// the task's turn.
///
/// It needs no timers, so it works on a runtime without `enable_time`, is not bound to their
/// millisecond, and resolves microseconds: what it reports on an idle runtime is the machine's own
/// wake-up latency. Under the paused clock of `tokio::time::pause` it goes on in real time.
///
/// # It changes what it measures
///
/// Waking a task from outside wakes a parked worker. On a `multi_thread` runtime that worker then
/// takes over timers and I/O, which would otherwise have waited for the worker that holds them: a
/// wake every 10 ms lowered the 99th percentile of an application timer from 100 ms to 4.5 ms while
/// another worker was stuck. Frequent wakes so hide the starvation they are meant to find. On
/// `multi_thread` keep the interval at 100 ms or more, or use the [`SleepSampler`], unless that
/// effect is wanted.
///
/// Like the [`SleepSampler`] it sees a stuck worker only if no other worker answers, and it under-
/// reports a block by up to one interval.
///
/// # Threads
///
/// The thread starts with a run and is named `loopmon-wake`. It ends when the monitor stops; an
/// interval later if it was stopped just between two measurements. If the operating system refuses it,
/// so does [`start`](Sampler::start), and the monitor is not installed.
///
/// # Panics
///
/// A measurement panics, which ends the monitor, if it has to start the thread again and the operating
/// system refuses it: if the runtime takes longer than an interval to come to its first measurement.
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
        let alarm = Alarm::start(interval, State::Idle);
        self.alarm = Some(alarm.map_err(|refused| Error::new(Kind::ThreadRefused, refused))?);
        Ok(())
    }

    async fn measure(&mut self, interval: Duration) -> Duration {
        // While it waits the future owns the thread: dropped in the middle, it ends the thread too.
        let alarm = self
            .alarm
            .take()
            .filter(|alarm| alarm.interval == interval && alarm.probe.arm());
        let alarm = alarm.unwrap_or_else(|| {
            Alarm::start(interval, State::armed())
                .expect("loopmon: the operating system refused the wake sampler's thread")
        });
        let woken_at = poll_fn(|cx| alarm.probe.poll_woken(cx)).await;
        let lag = clock::now().saturating_duration_since(woken_at);
        self.alarm = Some(alarm);
        lag
    }
}

/// The thread, and what it shares with the task it wakes. Dropping it ends the thread.
#[derive(Debug)]
struct Alarm {
    interval: Duration,
    probe: Arc<Probe>,
    /// Never sent on: the thread waits on it, and ends when it is dropped.
    _alive: mpsc::Sender<()>,
}

impl Alarm {
    fn start(interval: Duration, state: State) -> io::Result<Alarm> {
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

/// Wakes the probe every interval until `ended` is disconnected, or nobody measures any more.
///
/// It keeps its own time instead of being told when to ring: telling a sleeping thread costs as
/// much as a wake-up.
fn ring(probe: &Probe, interval: Duration, ended: &mpsc::Receiver<()>) {
    let mut wait = interval;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        match probe.ring(clock::now(), interval) {
            Some(next) => wait = next,
            None => return,
        }
    }
}

/// What the thread and the task tell each other.
#[derive(Debug)]
struct Probe(Lock<State>);

#[derive(Debug)]
enum State {
    Armed {
        at: Instant,
        waker: Option<Waker>,
    },
    Woken {
        at: Instant,
    },
    /// The task has its lag and is about to arm it again, if it goes on.
    Idle,
    /// The thread has ended.
    Ended,
}

impl State {
    fn armed() -> State {
        State::Armed {
            at: clock::now(),
            waker: None,
        }
    }
}

impl Probe {
    /// Whether the thread is still there to wake it.
    fn arm(&self) -> bool {
        self.0.with(|state| {
            if matches!(state, State::Ended) {
                return false;
            }
            *state = State::armed();
            true
        })
    }

    fn poll_woken(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        // A waker is foreign, so this clones it before, and drops one after.
        let mut waker = Some(cx.waker().clone());
        self.0.with(|state| match state {
            State::Woken { at } => {
                let at = *at;
                *state = State::Idle;
                Poll::Ready(at)
            }
            State::Armed { waker: before, .. } => {
                mem::swap(before, &mut waker);
                Poll::Pending
            }
            State::Idle | State::Ended => Poll::Pending,
        })
    }

    /// Wakes the task if it has waited for the interval; returns how long to wait until next time,
    /// if there is one.
    fn ring(&self, now: Instant, interval: Duration) -> Option<Duration> {
        let mut waker = None;
        let next = self.0.with(|state| {
            let at = match state {
                State::Armed { at, .. } => *at,
                // Still busy with the last one: the runtime is stuck.
                State::Woken { .. } => return Some(interval),
                // Arming it again takes microseconds: the run is over.
                State::Idle | State::Ended => {
                    *state = State::Ended;
                    return None;
                }
            };
            let left = interval.saturating_sub(now.saturating_duration_since(at));
            // The task arms itself a little after it was woken. An eighth too early is near enough;
            // waiting for the rest would cost a second wake-up each time.
            if left > interval / 8 {
                return Some(left);
            }
            if let State::Armed { waker: waits, .. } = state {
                waker = waits.take();
            }
            *state = State::Woken { at: now };
            Some(interval)
        });
        if let Some(waker) = waker {
            // Somebody may measure with an executor of their own.
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
        Probe(Lock::new(State::armed()))
    }

    #[test]
    fn a_ring_wakes_the_waiting_task_once_and_tells_when() {
        let probe = armed();
        let mut waiting = task::spawn(poll_fn(|cx| probe.poll_woken(cx)));
        assert_pending!(waiting.poll());
        let rang = clock::now() + INTERVAL;
        assert_eq!(probe.ring(rang, INTERVAL), Some(INTERVAL));
        assert!(waiting.is_woken());
        // The runtime is stuck and does not come for it: later rings change nothing.
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
        assert!(probe.0.with(|state| matches!(state, State::Woken { .. })));
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
        // Who comes too late starts another.
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
