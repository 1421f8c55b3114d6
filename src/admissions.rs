//! Counts the requests that were admitted and refused beside one monitor. Who decides is `shed`.
//!
//! The threads of a runtime count on different cache lines, so that they do not wait for each other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const STRIPES: usize = 16;

/// Why a request was refused.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Ready tasks run too late: the runtime is given more than it can do, or something blocked it just now.
    Lag,
    /// The next sample is overdue: nothing that is ready runs, so the runtime is stuck, or has far too much to
    /// do.
    Overdue,
    /// Either of these, while a [stall](crate::Stall) goes on: something is stuck, which is to be mended first. It is
    /// known only while stalls are detected, because [somebody asks for them](crate::Monitor::stalls).
    Stalled,
}

impl Reason {
    /// All reasons, each at its own index.
    pub(crate) const ALL: [Reason; 3] = [Reason::Lag, Reason::Overdue, Reason::Stalled];

    /// A short name for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Reason::Lag => "lag",
            Reason::Overdue => "overdue",
            Reason::Stalled => "stalled",
        }
    }
}

/// The counts of one monitor.
#[derive(Debug)]
pub(crate) struct Admissions {
    /// What the times of those who decide count from.
    epoch: Instant,
    stripes: [Stripe; STRIPES],
    /// Whether there was ever somebody who decides.
    in_use: AtomicBool,
}

/// The counts of a few threads, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
    admitted: AtomicUsize,
    refused: [AtomicUsize; Reason::ALL.len()],
    /// When the clock was read last, in microseconds since the epoch.
    clock_read: AtomicU32,
    /// Whether requests come so fast that most of them need not read the clock.
    hurried: AtomicBool,
}

/// What was counted so far. The numbers wrap around.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) admitted: usize,
    /// In the order of [`Reason::ALL`].
    pub(crate) refused: [usize; Reason::ALL.len()],
}

impl Admissions {
    pub(crate) fn new(epoch: Instant) -> Admissions {
        Admissions {
            epoch,
            stripes: Default::default(),
            in_use: AtomicBool::new(false),
        }
    }

    /// Somebody begins to decide.
    pub(crate) fn begin(&self) {
        self.in_use.store(true, Ordering::Relaxed);
    }

    /// Returns the time since the epoch.
    pub(crate) fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }

    /// Returns where this thread counts.
    pub(crate) fn stripe(&self) -> &Stripe {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static INDEX: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
        }
        &self.stripes[INDEX.with(|index| *index)]
    }

    /// Returns the counts, if there was ever somebody who decides.
    pub(crate) fn to_export(&self) -> Option<Totals> {
        self.in_use.load(Ordering::Relaxed).then(|| self.totals())
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for stripe in &self.stripes {
            totals.admitted = totals
                .admitted
                .wrapping_add(stripe.admitted.load(Ordering::Relaxed));
            for (total, refused) in totals.refused.iter_mut().zip(&stripe.refused) {
                *total = total.wrapping_add(refused.load(Ordering::Relaxed));
            }
        }
        totals
    }
}

impl Stripe {
    /// One request in so many reads the clock if they come fast.
    const READ_EVERY: usize = 8;

    /// How many microseconds so many requests take at most if they come fast.
    const FAST: u32 = 1_000;

    pub(crate) fn admit(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether the request at hand should read the clock, and then call
    /// [`clock_was_read`](Self::clock_was_read).
    pub(crate) fn needs_clock(&self) -> bool {
        let nth = self.admitted.load(Ordering::Relaxed) % Stripe::READ_EVERY;
        nth == 0 || !self.hurried.load(Ordering::Relaxed)
    }

    /// `at` is the time since the epoch.
    pub(crate) fn clock_was_read(&self, at: Duration) {
        // Wraps around, and so does the difference.
        let micros = at.as_micros() as u32;
        let last = self.clock_read.load(Ordering::Relaxed);
        self.clock_read.store(micros, Ordering::Relaxed);
        let fast = micros.wrapping_sub(last) < Stripe::FAST;
        self.hurried.store(fast, Ordering::Relaxed);
    }
}

impl Totals {
    /// Returns what was counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Totals) -> Totals {
        let mut since = Totals {
            admitted: self.admitted.wrapping_sub(earlier.admitted),
            ..*self
        };
        for (refused, before) in since.refused.iter_mut().zip(earlier.refused) {
            *refused = refused.wrapping_sub(before);
        }
        since
    }

    /// Returns the share that was admitted; 1 if nothing was asked for.
    pub(crate) fn share_admitted(&self) -> f64 {
        let asked = self.admitted + self.refused.iter().sum::<usize>();
        if asked == 0 {
            return 1.0;
        }
        self.admitted as f64 / asked as f64
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::clock;

    #[test]
    fn counts_what_all_threads_count() {
        let admissions = Admissions::new(clock::tokio_now());
        let before = admissions.totals();
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    admissions.stripe().admit();
                    admissions.stripe().admit();
                    admissions.stripe().refuse(Reason::Overdue);
                });
            }
        });
        let since = admissions.totals().since(&before);
        assert_eq!((since.admitted, since.refused), (80, [0, 40, 0]));
        assert_eq!(since.since(&since), Totals::default());
    }

    #[test]
    fn requests_that_come_fast_share_a_reading_of_the_clock() {
        let stripe = Stripe::default();
        let mut readings = 0;
        for request in 0..8_000 {
            if stripe.needs_clock() {
                readings += 1;
                // Ten microseconds each.
                stripe.clock_was_read(Duration::from_micros(request * 10));
            }
            stripe.admit();
        }
        assert!((1_000..1_010).contains(&readings), "{readings}");
        for request in 0..100 {
            if stripe.needs_clock() {
                readings += 1;
                stripe.clock_was_read(Duration::from_millis(80 + request));
            }
            stripe.admit();
        }
        // All but the seven that might come fast.
        assert!(readings >= 1_093, "{readings}");
    }
}
