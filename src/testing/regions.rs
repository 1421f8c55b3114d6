//! Where the code under test may block: which thread was in such a region, and when.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::clock;
use crate::per_process::PerProcess;
use crate::stall::OsThread;
use crate::sync::Lock;

/// How many regions are remembered. A stall that began before all of them may lack some.
const MOST: usize = 4_096;

/// Counts the watches that want to know. The child of a fork inherits them, and records for nobody.
static WATCHES: AtomicUsize = AtomicUsize::new(0);

static REGIONS: PerProcess<Lock<VecDeque<Region>>> = PerProcess::new(|| Lock::new(VecDeque::new()));

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug, Clone, Copy)]
struct Region {
    thread: u32,
    began: Instant,
    ended: Option<Instant>,
}

/// Regions are recorded while this is alive.
#[derive(Debug)]
pub(super) struct Recording(());

impl Recording {
    pub(super) fn begin() -> Recording {
        WATCHES.fetch_add(1, Ordering::Relaxed);
        Recording(())
    }

    /// For how long the thread was in a region between two times.
    pub(super) fn overlap(&self, thread: u32, from: Instant, to: Instant) -> Duration {
        REGIONS.get().with(|regions| {
            let of_thread = regions.iter().filter(|region| region.thread == thread);
            let overlap = |region: &Region| {
                let ended = region.ended.map_or(to, |ended| ended.min(to));
                ended.saturating_duration_since(region.began.max(from))
            };
            of_thread.map(overlap).sum()
        })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if WATCHES.fetch_sub(1, Ordering::Relaxed) == 1 {
            drop(REGIONS.get().with(std::mem::take));
        }
    }
}

/// The calling thread is in a region until this is dropped.
#[derive(Debug)]
pub(super) struct Inside {
    thread: u32,
    began: Instant,
}

impl Inside {
    /// `None` if nobody wants to know, or if the thread is in a region already.
    pub(super) fn enter() -> Option<Inside> {
        let is_wanted = WATCHES.load(Ordering::Relaxed) > 0;
        if !is_wanted || IS_INSIDE.replace(true) {
            return None;
        }
        let inside = Inside {
            thread: OsThread::current().number(),
            began: clock::now(),
        };
        REGIONS.get().with(|regions| {
            if regions.len() == MOST {
                regions.pop_front();
            }
            regions.push_back(Region {
                thread: inside.thread,
                began: inside.began,
                ended: None,
            });
        });
        Some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.set(false);
        let ended = clock::now();
        REGIONS.get().with(|regions| {
            let mut newest_first = regions.iter_mut().rev();
            let is_this =
                |region: &&mut Region| region.thread == self.thread && region.began == self.began;
            if let Some(region) = newest_first.find(is_this) {
                region.ended = Some(ended);
            }
        });
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_region_counts_on_its_thread_and_once() {
        assert!(WATCHES.load(Ordering::Relaxed) > 0 || Inside::enter().is_none());
        let recording = Recording::begin();
        let thread = OsThread::current().number();
        let before = clock::now();
        let outer = Inside::enter();
        assert!(outer.is_some() && Inside::enter().is_none());
        std::thread::park_timeout(Duration::from_millis(5));
        let during = clock::now();
        let all = during - before;
        let inside = recording.overlap(thread, before, during);
        assert!(inside > Duration::ZERO && inside <= all);
        drop(outer);
        let after = recording.overlap(thread, before, during + Duration::from_secs(1));
        assert!(after >= inside && after < Duration::from_secs(1));
        assert_eq!(
            recording.overlap(thread + 1, before, during),
            Duration::ZERO
        );
        assert_eq!(recording.overlap(thread, during, during), Duration::ZERO);
    }
}
