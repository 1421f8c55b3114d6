//! The watchdog's thread.

use std::io;
use std::thread;
use std::time::Duration;

use super::credit::Credit;
use super::inbox::{Id, Inbox};
use super::pauses;
use super::reporter::Reports;
use super::seat::Time;
use super::watched::Watched;
use crate::clock;

/// A stall is looked for this often before it is told.
const LOOKS_PER_THRESHOLD: u32 = 5;
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(20);

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
        let tick = tick(&runtimes);
        credit.worked(clock::now());
        let orders = inbox.wait(tick);
        if let Some(lasted) = credit.slept(clock::now(), tick) {
            pauses::add(lasted);
        }
        let time = Time {
            now: credit.now(),
            paused: credit.paused(),
        };
        runtimes.extend(orders.arrived);
        runtimes.retain_mut(|(id, runtime)| {
            let is_there = runtime.look(time, reports) && !orders.left.contains(id);
            if !is_there {
                runtime.close(reports);
            }
            is_there
        });
        if runtimes.is_empty() && inbox.may_end() {
            return;
        }
    }
}

fn tick(runtimes: &[(Id, Watched)]) -> Duration {
    let smallest = runtimes
        .iter()
        .map(|(_, runtime)| runtime.threshold())
        .min();
    smallest.map_or(LONGEST_TICK, |threshold| {
        (threshold / LOOKS_PER_THRESHOLD).clamp(SHORTEST_TICK, LONGEST_TICK)
    })
}
