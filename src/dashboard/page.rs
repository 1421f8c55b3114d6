//! What is known of the monitors for the page. How it arrives here: `scribe.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::history::History;
use super::stall_log::StallLog;
use super::viewers::Viewers;
use crate::clock;
use crate::monitor::Monitor;
use crate::sync::Lock;
use crate::watchdog::{Pause, pauses};

/// How many pauses of the process are kept.
const MOST_PAUSES: usize = 64;

#[derive(Debug)]
pub(super) struct Page {
    /// Tells this process, and this page of it, from others.
    pub(super) instance: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) runtimes: Vec<Runtime>,
    /// What the page is known by beside its addresses.
    pub(super) names: Vec<String>,
    pub(super) unhealthy_after: Duration,
    pub(super) viewers: Viewers,
    pauses: Lock<VecDeque<Pause>>,
}

/// One monitor.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) id: usize,
    pub(super) name: String,
    pub(super) monitor: Monitor,
    pub(super) past: Lock<Past>,
}

#[derive(Debug)]
pub(super) struct Past {
    pub(super) history: History,
    pub(super) stalls: StallLog,
}

impl Page {
    pub(super) fn new(
        monitors: Vec<Monitor>,
        names: Vec<String>,
        unhealthy_after: Duration,
    ) -> Page {
        let started_at = clock::utc_now();
        let started = started_at.timestamp_micros();
        Page {
            instance: format!("{}-{started:x}", std::process::id()),
            started_at,
            runtimes: runtimes(monitors),
            names,
            unhealthy_after,
            viewers: Viewers::default(),
            pauses: Lock::default(),
        }
    }

    /// The pauses of the process that were seen, the oldest first.
    pub(super) fn pauses(&self) -> Vec<Pause> {
        self.look_for_pause();
        self.pauses.with(|seen| seen.iter().copied().collect())
    }

    pub(super) fn look_for_pause(&self) {
        let Some(last) = pauses().last else {
            return;
        };
        self.pauses.with(|seen| {
            if seen.back() != Some(&last) {
                seen.push_back(last);
            }
            if seen.len() > MOST_PAUSES {
                seen.pop_front();
            }
        });
    }
}

fn runtimes(monitors: Vec<Monitor>) -> Vec<Runtime> {
    let mut runtimes: Vec<Runtime> = Vec::with_capacity(monitors.len());
    for (id, monitor) in monitors.into_iter().enumerate() {
        let name = monitor.name().unwrap_or("unnamed").to_owned();
        let same = runtimes
            .iter()
            .filter(|other| other.monitor.name() == monitor.name());
        let name = match same.count() {
            0 => name,
            same => format!("{name} ({})", same + 1),
        };
        runtimes.push(Runtime {
            id,
            name,
            monitor,
            past: Lock::new(Past {
                history: History::new(),
                stalls: StallLog::default(),
            }),
        });
    }
    runtimes
}
