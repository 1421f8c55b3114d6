//! Decides whether a request is admitted. How much to refuse at which lag is the law's concern.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use tokio::time::Instant;

use super::Reason;
use super::law::{Law, LawState, Observation};
use super::overloaded::Overloaded;
use super::priority::Priority;
use super::verdict::Verdict;
use crate::admissions::{Admissions, Stripe, Totals};
use crate::clock;
use crate::monitor::{Beat, Monitor, Pulse};

/// Decides, by the lag of one runtime, which requests to refuse.
///
/// It reads what a [`Monitor`] measures: each sample, and while none comes, by how much the next one is overdue.
/// It needs no thread and no task: whoever asks it brings it up to date. Clones share what they know.
///
/// ```
/// use std::time::Duration;
/// use loopmon::Monitor;
/// use loopmon::shed::{Policy, Priority};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let monitor = Monitor::builder()
///     .interval(Duration::from_millis(10))
///     .install()?;
/// let policy = Policy::new(&monitor);
/// tokio::time::sleep(Duration::from_millis(30)).await;
///
/// // Never do this in async code.
/// std::thread::sleep(Duration::from_millis(500));
///
/// assert!(policy.is_overloaded());
/// assert!(policy.admit(Priority::Optional).is_err() && policy.admit(Priority::Critical).is_ok());
/// # Ok(())
/// # }
/// ```
///
/// Give the monitor an interval of about 10 ms. With the default of 100 ms a policy works as well, but it notices
/// the end of an overload later.
///
/// # It never latches
///
/// - Each [`PROBE_INTERVAL`](Self::PROBE_INTERVAL), at least one request is admitted, however long the lag is.
/// - While the monitor is not attached, because it was stopped or its runtime has ended, everything is admitted.
///   After it is attached again, the policy starts afresh.
/// - It depends on no thread and on no task, so none can be stuck.
///
/// # Cost
///
/// A request that is admitted costs 16 ns, one that is refused 77 ns: a few loads, a counter, and a clock read if it
/// is refused. While requests come fast, eight within a millisecond on a thread, only one in eight of those that are
/// admitted reads the clock; so up to seven may be decided by what was known just before. Nobody waits for a lock, and
/// nothing is allocated.
///
/// If the clock of the runtime is paused, ask within the runtime: the policy uses that clock, as
/// [`Monitor::lag`] does.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    monitor: Monitor,
    admissions: Arc<Admissions>,
    law: Law,
    verdict: AtomicU32,
    /// When the next sample is overdue by the law's limit, in milliseconds.
    overdue: AtomicU32,
    /// The monitor's news that the verdict takes into account.
    news: AtomicUsize,
    /// When a request was last admitted during the overload, in milliseconds.
    let_through: AtomicU32,
    /// Nobody waits for it: one thread brings the policy up to date, the others use what is there.
    state: Mutex<State>,
}

impl Policy {
    /// The longest time for which everything is refused: 100 ms.
    ///
    /// Then one request is admitted, to see how it fares. [`Priority`] does not matter for that.
    pub const PROBE_INTERVAL: Duration = Duration::from_millis(100);

    /// Creates a policy with the [default law](Law::balanced) on the lag of the monitor's runtime. The monitor may
    /// be installed later.
    #[must_use]
    pub fn new(monitor: &Monitor) -> Policy {
        Policy::with_law(monitor, Law::default())
    }

    /// Creates a policy with the given law.
    #[must_use]
    pub fn with_law(monitor: &Monitor, law: Law) -> Policy {
        monitor.admissions().begin();
        Policy {
            inner: Arc::new(Inner {
                admissions: Arc::clone(monitor.admissions()),
                monitor: monitor.clone(),
                verdict: AtomicU32::new(Verdict::CALM.into_bits()),
                // Any other than the monitor's, so that the first request looks.
                news: AtomicUsize::new(monitor.news().wrapping_sub(1)),
                overdue: AtomicU32::new(0),
                let_through: AtomicU32::new(0),
                state: Mutex::new(State::new(&law, clock::tokio_now())),
                law,
            }),
        }
    }

    /// Decides on one request, and counts it for the exporters.
    ///
    /// # Errors
    ///
    /// If the request is to be refused. The error says why.
    pub fn admit(&self, priority: Priority) -> Result<(), Overloaded> {
        let inner = &*self.inner;
        let stripe = inner.admissions.stripe();
        let now = if inner.has_news() {
            Some(inner.look())
        } else {
            stripe.needs_clock().then(|| inner.look_if_overdue(stripe))
        };
        if inner.verdict().is_calm() || priority == Priority::Critical {
            stripe.admit();
            return Ok(());
        }
        inner.admit_some(priority, stripe, now)
    }

    /// Returns whether the runtime is overloaded now: whether [`Optional`](Priority::Optional) work is refused. It
    /// counts nothing, so use it to leave out what is not needed. It always reads the clock.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.inner.look();
        !self.inner.verdict().is_calm()
    }

    /// Returns the monitor that the policy reads.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.inner.monitor
    }

    /// Returns the law of the policy.
    #[must_use]
    pub fn law(&self) -> Law {
        self.inner.law
    }

    /// Returns the share of [`Normal`](Priority::Normal) requests that is refused now, from 0 to 1, for a page or a
    /// log.
    #[must_use]
    pub fn share_refused(&self) -> f64 {
        self.inner.look();
        self.inner.verdict().share()
    }
}

impl Inner {
    /// Longer than anything is waited for, and within what milliseconds that wrap around can compare.
    const FAR: Duration = Duration::from_secs(86_400);

    fn verdict(&self) -> Verdict {
        Verdict::from_bits(self.verdict.load(Ordering::Relaxed))
    }

    fn millis(&self, now: Instant) -> u32 {
        // Wraps around after 49 days, and so does the arithmetic.
        self.admissions.at(now).as_millis() as u32
    }

    /// Returns whether the monitor has changed since the verdict.
    fn has_news(&self) -> bool {
        self.monitor.news() != self.news.load(Ordering::Relaxed)
    }

    /// Brings the verdict up to date if the next sample has become overdue. Returns the time.
    fn look_if_overdue(&self, stripe: &Stripe) -> Instant {
        let now = clock::tokio_now();
        stripe.clock_was_read(self.admissions.at(now));
        let left = self
            .overdue
            .load(Ordering::Relaxed)
            .wrapping_sub(self.millis(now));
        // Zero or, as it wraps around, less.
        if left == 0 || left > u32::MAX / 2 {
            self.look_at(now);
        }
        now
    }

    /// Brings the verdict up to date. Returns the time.
    fn look(&self) -> Instant {
        let now = clock::tokio_now();
        self.look_at(now);
        now
    }

    /// Brings the verdict up to date, unless another thread does that right now.
    fn look_at(&self, now: Instant) {
        // Before the monitor is read, so that later news is not missed.
        let news = self.monitor.news();
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let limit = self.law.limit();
        let (verdict, left) = match self.monitor.pulse(now) {
            Some(pulse) => {
                state.see(&pulse, &self.law, &self.admissions, now);
                let is_overdue = pulse.overdue >= limit;
                let left = (pulse.due + limit.min(Inner::FAR)).saturating_duration_since(now);
                let drain = state.drain.saturating_duration_since(now);
                if drain.is_zero() {
                    (Verdict::new(state.share, is_overdue), left)
                } else {
                    (Verdict::new(1.0, is_overdue), left.min(drain))
                }
            }
            None => {
                *state = State::new(&self.law, now);
                (Verdict::CALM, Inner::FAR)
            }
        };
        if self.verdict().is_calm() {
            // The first refusals are not a time without requests.
            self.let_through.store(self.millis(now), Ordering::Relaxed);
        }
        // Once it is overdue, only news changes that.
        let left = left.min(Inner::FAR);
        let left = if verdict.is_overdue() {
            Inner::FAR
        } else {
            left
        };
        let overdue = self.millis(now + left);
        self.overdue.store(overdue, Ordering::Relaxed);
        self.verdict.store(verdict.into_bits(), Ordering::Relaxed);
        self.news.store(news, Ordering::Relaxed);
    }

    /// Decides during an overload.
    #[cold]
    fn admit_some(
        &self,
        priority: Priority,
        stripe: &Stripe,
        now: Option<Instant>,
    ) -> Result<(), Overloaded> {
        let now = now.unwrap_or_else(|| self.look_if_overdue(stripe));
        let Some(reason) = self.verdict().refuse(priority, spread()) else {
            self.let_through.store(self.millis(now), Ordering::Relaxed);
            stripe.admit();
            return Ok(());
        };
        if self.is_probe(now) {
            stripe.admit();
            return Ok(());
        }
        let is_stalled = self.monitor.has_open_stalls();
        let reason = if is_stalled { Reason::Stalled } else { reason };
        stripe.refuse(reason);
        Err(Overloaded::new(reason))
    }

    /// Returns whether nothing was admitted for so long that this request is; only one is.
    fn is_probe(&self, now: Instant) -> bool {
        let now = self.millis(now);
        let last = self.let_through.load(Ordering::Relaxed);
        let waited = now.wrapping_sub(last);
        // Another thread may have read the clock a little later.
        let due = waited >= Policy::PROBE_INTERVAL.as_millis() as u32 && waited <= u32::MAX / 2;
        let exchange = || {
            self.let_through
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
        };
        due && exchange().is_ok()
    }
}

/// What is known of the run that the monitor is in.
#[derive(Debug)]
struct State {
    run: Option<usize>,
    /// The newest sample that the law has seen.
    seen: Option<Beat>,
    /// What had been counted by then.
    totals: Totals,
    law: LawState,
    share: f64,
    /// Until when everything is refused.
    drain: Instant,
}

impl State {
    fn new(law: &Law, now: Instant) -> State {
        State {
            run: None,
            seen: None,
            totals: Totals::default(),
            law: law.begin(),
            share: 0.0,
            drain: now,
        }
    }

    fn see(&mut self, pulse: &Pulse, law: &Law, admissions: &Admissions, now: Instant) {
        if self.run != Some(pulse.run) {
            *self = State {
                run: Some(pulse.run),
                totals: admissions.totals(),
                ..State::new(law, now)
            };
        }
        let seen = self.seen.map(|beat| beat.number);
        if let Some(beat) = pulse.newest.filter(|beat| seen != Some(beat.number)) {
            let last = self
                .seen
                .replace(beat)
                .map_or(pulse.since, |last| last.taken);
            let totals = admissions.totals();
            let before = std::mem::replace(&mut self.totals, totals);
            self.share = self.law.update(Observation {
                elapsed: beat.taken.saturating_duration_since(last),
                lag: beat.lag,
                admitted: totals.since(&before).share_admitted(),
            });
            // The next sample decides anew, but it may be far.
            self.drain = beat.taken + self.law.drain().min(Policy::PROBE_INTERVAL);
        }
    }
}

/// Returns numbers from 0 to 65,535 that are spread evenly, also over a few calls: of four requests in a row, a
/// share of a half refuses two. By chance it might be none or all, and the queue would wander more.
pub(super) fn spread() -> u16 {
    // The golden ratio's part of 65,536: an additive recurrence, whose numbers never repeat a short pattern.
    const STEP: u16 = 40_503;
    thread_local! {
        static LAST: Cell<u16> = const { Cell::new(0) };
    }
    LAST.with(|last| {
        let next = last.get().wrapping_add(STEP);
        last.set(next);
        next
    })
}

impl From<&Monitor> for Policy {
    fn from(monitor: &Monitor) -> Policy {
        Policy::new(monitor)
    }
}

impl From<&Policy> for Policy {
    fn from(policy: &Policy) -> Policy {
        policy.clone()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("monitor", &self.inner.monitor.name())
            .field("law", &self.inner.law)
            .field("verdict", &self.inner.verdict())
            .finish_non_exhaustive()
    }
}
