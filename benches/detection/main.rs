//! Does the watchdog find what is stuck, and nothing else, and what does it cost?
//!
//! `cargo bench --bench detection` takes under three minutes and prints a table for each question,
//! then each budget with its measured value beside it. `-- --long` takes some twenty minutes and has
//! the numbers of samples that the last percentiles need. Any other argument is a section to run
//! alone: `recall`, `instrumented`, `healthy`, `entered`, `pauses` or
//! `cost`. With the `stack` feature, root futures are among what blocks.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program that measures"
)]

mod cost;
mod entered;
mod healthy;
mod instrumented;
mod load;
mod pauses;
mod recall;
mod report;

use std::time::Duration;

use report::Budget;

/// The stall threshold of every section: a tick of 5 ms.
const THRESHOLD: Duration = Duration::from_millis(25);

/// From here on a stall has to be found while it lasts.
const SURE: Duration = Duration::from_millis(12);

fn main() {
    if pauses::be_the_child() {
        return;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let long = args.iter().any(|arg| arg == "--long");
    let sections: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let wants = |section| sections.is_empty() || sections.contains(&section);
    let mut budgets: Vec<Budget> = Vec::new();
    if wants("recall") {
        budgets.extend(recall::run(if long { 400 } else { 30 }));
    }
    if wants("instrumented") {
        budgets.extend(instrumented::run(if long { 400 } else { 30 }));
    }
    if wants("healthy") {
        let each = Duration::from_secs(if long { 60 } else { 3 });
        budgets.push(healthy::run(each));
    }
    if wants("entered") {
        let each = Duration::from_secs(if long { 120 } else { 15 });
        budgets.push(entered::run(each));
    }
    if wants("pauses") {
        budgets.push(pauses::run(if long { 30 } else { 5 }));
    }
    if wants("cost") {
        budgets.extend(cost::run(if long { 150 } else { 16 }));
    }
    report::budgets(&budgets);
}
