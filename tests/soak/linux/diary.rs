//! What a runtime has really done, and what was reported of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use loopmon::chrono::Utc;
use loopmon::{Cause, Phase, Stall, StallId, Stalls};

use crate::linux::faults::fault;
use crate::linux::world::{Metronome, World};

/// The threshold of all monitors.
pub(crate) const THRESHOLD: Duration = Duration::from_millis(100);

/// A shorter piece of work explains no report.
const LONG: Duration = Duration::from_millis(30);

/// A block of so long must be reported.
const CERTAIN: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Diary(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// Pieces of work that took long, and blocks that are meant.
    work: Vec<Work>,
    reports: HashMap<StallId, Report>,
}

#[derive(Clone, Copy)]
struct Work {
    began: Instant,
    ended: Instant,
    is_block: bool,
}

struct Report {
    began: Instant,
    heard: Instant,
    last: Stall,
}

impl Report {
    fn ended(&self) -> Instant {
        self.began + self.last.duration
    }

    /// Whether there was no end of it, nor the next report of one that goes on, and long since.
    fn is_unfinished(&self, until: Instant) -> bool {
        let next = self.began + 2 * self.last.duration + Duration::from_secs(3);
        self.last.phase != Phase::Ended && next < until
    }

    fn is_of(&self, work: &Work) -> bool {
        self.began <= work.ended && work.began <= self.ended()
    }
}

impl Diary {
    /// Does a piece of work that should be short.
    pub(crate) fn work<R>(&self, work: impl FnOnce() -> R) -> R {
        self.takes(false, work)
    }

    /// Blocks.
    pub(crate) fn block<R>(&self, block: impl FnOnce() -> R) -> R {
        self.takes(true, block)
    }

    fn takes<R>(&self, is_block: bool, act: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = act();
        let ended = Instant::now();
        if is_block || ended - began >= LONG {
            let work = Work {
                began,
                ended,
                is_block,
            };
            self.entries().work.push(work);
        }
        result
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reported(&self, stall: Stall) {
        let heard = Instant::now();
        let ago = (Utc::now() - stall.began_at).to_std().unwrap_or_default();
        let began = heard.checked_sub(ago).unwrap_or(heard);
        let mut entries = self.entries();
        let report = entries.reports.entry(stall.id).or_insert(Report {
            began,
            heard,
            last: stall.clone(),
        });
        report.last = stall;
    }

    /// What was reported must have been, and what has blocked must have been reported. `until` is when the monitor
    /// was stopped, at the earliest.
    pub(crate) fn judge(&self, who: &str, is_healthy: bool, until: Instant, world: &World) {
        let entries = self.entries();
        for report in entries
            .reports
            .values()
            .filter(|report| report.is_unfinished(until))
        {
            world.unfinished(who, &report.last);
        }
        if is_healthy {
            for report in entries.reports.values() {
                let is_right = |work: &Work| {
                    report.is_of(work) && work.ended - work.began >= report.last.duration / 2
                };
                let is_starved = match report.last.cause {
                    Cause::Starved => true,
                    // On a crowded machine nothing may be known of it, and that is what the report says.
                    // Or short polls take long together.
                    Cause::Unknown | Cause::ManyPolls => {
                        let waited = world.metronome.pressure(report.began, report.ended());
                        waited >= report.last.duration / 2
                    }
                    _ => false,
                };
                if !is_starved && !entries.work.iter().any(is_right) {
                    fault(&format!(
                        "{who}: a healthy worker is reported: {} {:?}",
                        report.last, report.last
                    ));
                }
            }
            return;
        }
        let blocks = entries.work.iter().filter(|work| work.is_block);
        for block in blocks.filter(|block| block.ended - block.began >= CERTAIN) {
            let heard = entries
                .reports
                .values()
                .filter(|report| report.is_of(block));
            match heard.map(|report| report.heard).min() {
                Some(heard) => world.heard(who, block.began, heard),
                None if block.ended < until => world.not_heard(who, block.ended - block.began),
                None => {}
            }
        }
    }
}

/// Reads reports until they end, and checks their order. Returns whether a stall was open at the end.
pub(crate) async fn follow(who: &str, mut stalls: Stalls, diary: Option<&Diary>) -> bool {
    let (mut open, mut over) = (HashSet::new(), HashSet::new());
    while let Some(stall) = stalls.next().await {
        let has_missed = stalls.missed() > 0;
        let is_in_order = match stall.phase {
            Phase::Started => open.insert(stall.id) && !over.contains(&stall.id),
            Phase::Ongoing => open.contains(&stall.id) || has_missed,
            _ => {
                open.remove(&stall.id);
                over.insert(stall.id)
            }
        };
        if !is_in_order {
            fault(&format!("{who}: out of order: {:?} {stall}", stall.phase));
        }
        if let Some(diary) = diary {
            diary.reported(stall);
        }
    }
    !open.is_empty()
}

/// How late a report may be.
pub(crate) fn bound(metronome: &Metronome, began: Instant, heard: Instant) -> Duration {
    2 * THRESHOLD + Duration::from_secs(1) + 20 * metronome.latest(began, heard)
}
