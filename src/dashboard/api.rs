//! What the page says to machines, and to its own script. The paths are in `routes.rs`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::history::{BANDS, Column, step};
use super::page::{Page, Runtime};
use super::stall_log::Entry;
use crate::admissions::Reason;
use crate::clock;
use crate::culprits::{Blame, Culprit, Tally};
use crate::monitor::Monitor;
use crate::stall::{Cause, Place};

/// How many stalls are told at once.
const MOST_STALLS: usize = 2_000;

pub(super) fn now(page: &Page) -> Value {
    let now = clock::now();
    let pauses = page.pauses();
    let pauses: Vec<_> = pauses
        .iter()
        .map(|pause| {
            json!({
                "ended_at": pause.ended_at.timestamp_millis(),
                "duration_ms": millis(pause.duration),
            })
        })
        .collect();
    let monitors = page.runtimes.iter().map(|runtime| state(runtime, now));
    json!({
        "instance": page.instance,
        "started_at": page.started_at.timestamp_millis(),
        "now": clock::utc_now().timestamp_millis(),
        "pauses": pauses,
        "monitors": monitors.collect::<Vec<_>>(),
    })
}

fn state(runtime: &Runtime, now: Instant) -> Value {
    let monitor = &runtime.monitor;
    let sample = monitor.latest().map(|sample| {
        json!({
            "lag_ms": millis(sample.lag),
            "tasks": sample.tasks,
            "queue_depth": sample.queue_depth,
            "busy": sample.busy,
            "at": sample.data_at.timestamp_millis(),
        })
    });
    let open = open(runtime);
    let stalls: Vec<_> = open
        .iter()
        .map(|entry| stall(runtime, entry, now))
        .collect();
    json!({
        "id": runtime.id,
        "name": runtime.name,
        "running": monitor.is_running(),
        "interval_ms": millis(monitor.interval()),
        "lag_ms": millis(monitor.lag()),
        "sample": sample,
        "stalls": stalls,
        "requests": requests(monitor),
    })
}

/// What was admitted and refused, if somebody sheds load by this monitor.
fn requests(monitor: &Monitor) -> Option<Value> {
    let totals = monitor.admissions().to_export()?;
    let refused = Reason::ALL.iter().zip(totals.refused);
    let refused: BTreeMap<_, _> = refused
        .map(|(reason, count)| (reason.label(), count))
        .collect();
    Some(json!({ "admitted": totals.admitted, "refused": refused }))
}

fn open(runtime: &Runtime) -> Vec<Entry> {
    runtime.past.with(|past| {
        let open = past.stalls.iter().filter(|entry| entry.is_open);
        open.cloned().collect()
    })
}

/// Who is stuck for too long, a line each.
pub(super) fn stuck(page: &Page) -> Vec<String> {
    let now = clock::now();
    let mut stuck = Vec::new();
    let running = page.runtimes.iter().filter(|one| one.monitor.is_running());
    for runtime in running {
        let name = plain(&runtime.name);
        for entry in open(runtime) {
            let lasted = entry.lasted(now);
            if lasted >= page.unhealthy_after {
                let (place, cause) = (plain(&entry.place.to_string()), entry.cause);
                let culprit = entry
                    .culprit
                    .map(|culprit| format!(", in {}", plain(&culprit)));
                let culprit = culprit.unwrap_or_default();
                let lasted = lasted.as_secs_f64();
                stuck.push(format!(
                    "{name}: {place} is stuck for {lasted:.3} s: {cause}{culprit}"
                ));
            }
        }
        let lag = runtime.monitor.lag();
        if lag >= page.unhealthy_after {
            stuck.push(format!("{name}: the lag is {:.3} s", lag.as_secs_f64()));
        }
    }
    stuck
}

/// Names come from the program, and a terminal obeys control characters.
fn plain(text: &str) -> String {
    let plain = |character: char| {
        if character.is_control() {
            '?'
        } else {
            character
        }
    };
    text.chars().map(plain).collect()
}

/// The columns from `since` on of one runtime, or of all.
pub(super) fn history(page: &Page, only: Option<&Runtime>, length: Duration, since: i64) -> Value {
    let is_meant = |one: &&Runtime| only.is_none_or(|only| only.id == one.id);
    let monitors = page.runtimes.iter().filter(is_meant).map(|runtime| {
        let columns: Vec<_> = runtime.past.with(|past| {
            let columns = past.history.range(length).columns.iter();
            columns
                .filter(|column| column.at >= since)
                .cloned()
                .collect()
        });
        json!({
            "id": runtime.id,
            "name": runtime.name,
            "columns": columns.iter().map(column).collect::<Vec<_>>(),
        })
    });
    json!({
        "step_ms": step(length),
        "bands_us": BANDS,
        "monitors": monitors.collect::<Vec<_>>(),
    })
}

fn column(column: &Column) -> Value {
    json!({
        "at": column.at,
        "samples": column.samples,
        "missed": column.missed,
        "max_ms": column.max_us as f64 / 1_000.0,
        "tasks": column.tasks,
        "queue_depth": column.queue_depth,
        "busy": column.busy(),
        "bands": column.bands().map(|(band, count)| json!([band, count])).collect::<Vec<_>>(),
    })
}

pub(super) fn stalls(page: &Page) -> Value {
    let now = clock::now();
    let (mut dropped, mut missed, mut all) = (0, 0, Vec::new());
    for runtime in &page.runtimes {
        let stalls: Vec<_> = runtime.past.with(|past| {
            dropped += past.stalls.dropped;
            missed += past.stalls.missed;
            past.stalls.iter().cloned().collect()
        });
        all.extend(stalls.into_iter().map(|entry| (runtime, entry)));
    }
    all.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.began_at));
    dropped += all.len().saturating_sub(MOST_STALLS) as u64;
    all.truncate(MOST_STALLS);
    let stalls = all
        .iter()
        .map(|(runtime, entry)| stall(runtime, entry, now));
    json!({
        "stalls": stalls.collect::<Vec<_>>(),
        "dropped": dropped,
        "missed": missed,
    })
}

pub(super) fn stall(runtime: &Runtime, entry: &Entry, now: Instant) -> Value {
    json!({
        "id": entry.id,
        "monitor": runtime.id,
        "place": entry.place.to_string(),
        "kind": kind(&entry.place),
        "cause": entry.cause.label(),
        "why": entry.cause.to_string(),
        "advice": advice(entry.cause),
        "culprit": entry.culprit,
        "thread": entry.thread,
        "task": entry.task,
        "began_at": entry.began_at,
        "duration_ms": millis(entry.lasted(now)),
        "open": entry.is_open,
    })
}

fn kind(place: &Place) -> &'static str {
    match place {
        Place::Worker(_) => "worker",
        Place::RootFuture => "root",
        Place::Future(_) => "future",
    }
}

pub(super) fn culprits(page: &Page) -> Value {
    let monitors = page.runtimes.iter().map(|runtime| {
        let culprits = runtime.monitor.culprits();
        json!({
            "id": runtime.id,
            "name": runtime.name,
            "since": culprits.since().timestamp_millis(),
            "all": tally(culprits.all()),
            "other": tally(culprits.other()),
            "culprits": culprits.iter().map(culprit).collect::<Vec<_>>(),
        })
    });
    json!({ "monitors": monitors.collect::<Vec<_>>() })
}

fn culprit(culprit: &Culprit) -> Value {
    let at = |time: DateTime<Utc>| time.timestamp_millis();
    let cause = culprit.causes.first().map(|(cause, _)| *cause);
    let causes = culprit.causes.iter().map(|(cause, part)| {
        json!({ "cause": cause.label(), "why": cause.to_string(), "cost": tally(*part) })
    });
    let places = culprit
        .places
        .iter()
        .map(|(place, part)| json!({ "place": place.to_string(), "cost": tally(*part) }));
    json!({
        "id": culprit_id(&culprit.blame),
        "who": culprit.blame.to_string(),
        "kind": match culprit.blame {
            Blame::Own(_) => "own",
            Blame::Outermost(_) => "outermost",
            Blame::Cause(_) => "cause",
        },
        "stalls": culprit.stalls,
        "total_ms": millis(culprit.total),
        "longest_ms": millis(culprit.longest),
        "first_seen": at(culprit.first_seen),
        "last_seen": at(culprit.last_seen),
        "causes": causes.collect::<Vec<_>>(),
        "places": places.collect::<Vec<_>>(),
        "advice": cause.map(advice),
        "has_trace": culprit.trace.is_some(),
    })
}

/// The stack of a culprit.
pub(super) fn trace(runtime: &Runtime, id: &str) -> Option<String> {
    let culprits = runtime.monitor.culprits();
    let culprit = culprits.iter().find(|one| culprit_id(&one.blame) == id)?;
    culprit.trace.as_ref().map(ToString::to_string)
}

/// The same in all snapshots: FNV-1a of its name.
fn culprit_id(blame: &Blame) -> String {
    let name = blame.to_string();
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn tally(tally: Tally) -> Value {
    json!({ "stalls": tally.stalls, "total_ms": millis(tally.total) })
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// What to do about it: the words of the guide.
fn advice(cause: Cause) -> &'static str {
    match cause {
        Cause::Blocked { .. } => {
            "Call it in spawn_blocking or block_in_place, or use the async version of what is called."
        }
        Cause::OnCpu => {
            "Compute in spawn_blocking or a thread pool, or call yield_now in the loop."
        }
        Cause::ManyPolls => {
            "Make polls shorter, spawn fewer tasks, or set a smaller event_interval."
        }
        Cause::Unattended => "Set a larger max_blocking_threads, or drive the runtime.",
        Cause::Starved => "The host gives it no CPU: give the program more, or use fewer threads.",
        Cause::Unknown => "Enable the feature `stack`, which finds out more.",
    }
}
