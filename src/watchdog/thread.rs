//! The watchdog's thread.

use std::io;
use std::thread;
use std::time::Duration;

use super::credit::{Credit, LONGEST_LOOK};
use super::inbox::{Id, Inbox};
use super::pauses;
use super::reporter::Reports;
use super::watched::Watched;
use crate::clock;

/// A stall is looked for this often before it is told.
const LOOKS_PER_THRESHOLD: u32 = 5;
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(20);

/// A timer of the system is not more precise.
const SHORTEST_WAIT: Duration = Duration::from_micros(100);

/// Starts it, and the one that publishes what it finds, which ends with it.
pub(super) fn start(inbox: &'static Inbox<Watched>) -> io::Result<()> {
    let reports = Reports::start()?;
    thread::Builder::new()
        .name("loopmon-watchdog".to_owned())
        .spawn(move || watch(inbox, &reports))?;
    Ok(())
}

fn watch(inbox: &Inbox<Watched>, reports: &Reports) {
    let mut runtimes: Vec<(Id, Watched)> = Vec::new();
    let mut credit = Credit::new(clock::now());
    loop {
        let in_look = credit.worked(clock::now());
        let wait = wait(&runtimes, credit.now());
        let orders = inbox.wait(wait);
        let now = clock::now();
        let in_sleep = credit.slept(now, wait);
        // However many threads are slow to answer.
        let until = now + LONGEST_LOOK;
        in_look.into_iter().chain(in_sleep).for_each(pauses::add);
        runtimes.extend(orders.arrived);
        runtimes.retain_mut(|(id, runtime)| {
            runtime.look(credit.now(), until, reports);
            let stays = !orders.left.contains(id);
            if !stays {
                runtime.close(reports);
            }
            stays
        });
        if runtimes.is_empty() && inbox.may_end() {
            return;
        }
    }
}

/// Until the next look: a tick, or less if there may be something to find before.
fn wait(runtimes: &[(Id, Watched)], now: Duration) -> Duration {
    let watched = || runtimes.iter().map(|(_, runtime)| runtime);
    let smallest = watched().map(Watched::threshold).min();
    let tick = smallest.map_or(LONGEST_TICK, |threshold| {
        (threshold / LOOKS_PER_THRESHOLD).clamp(SHORTEST_TICK, LONGEST_TICK)
    });
    let due = watched().filter_map(Watched::due_at).min();
    let due = due.map_or(tick, |due| due.saturating_sub(now));
    due.clamp(SHORTEST_WAIT, tick)
}
