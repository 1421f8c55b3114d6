//! What does load shedding serve of too much load, how fast, and what does it cost per request?
//!
//! `cargo bench --bench shed --features tower` takes about six minutes. An argument is a section to run alone:
//! `cost`, `loads`, `handlers` or `spike`.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program that measures"
)]

mod cost;
#[path = "../shared/figures.rs"]
mod figures;
mod load;
mod toobusy;
mod ways;

use std::time::Duration;

use load::{Handler, Load, Outcome, run};
use ways::{LAWS, WAYS, Way};

const SECONDS: u64 = 3;

fn print_header(first: &str) {
    println!("\n| {first} | way | good/s | of the possible | p50 | p99 | refused |");
    println!("|---|---|---:|---:|---:|---:|---:|");
}

fn print(first: &str, way: &Way, outcome: &Outcome) {
    println!(
        "| {first} | {} | {:.0} | {:.2} | {:.1} | {:.1} | {:.2} |",
        way.name,
        outcome.good,
        outcome.good / outcome.possible,
        outcome.latencies.at(0.5),
        outcome.latencies.at(0.99),
        outcome.refused,
    );
}

fn loads() {
    println!("\n## Compute for 1 ms, `current_thread`, by load\n");
    println!("Good: answered within 100 ms of the intended start. Latencies in ms.");
    print_header("load");
    for share in [0.5, 0.9, 1.0, 1.5, 2.0, 4.0] {
        for way in &WAYS {
            let load = Load::steady(Handler::Compute, 0, share, SECONDS);
            print(&share.to_string(), way, &run(way, &load));
        }
    }
}

fn handlers() {
    println!("\n## Twice the possible load, by handler and runtime");
    print_header("handler, workers");
    for workers in [2, 0] {
        for handler in [Handler::Compute, Handler::Mixed, Handler::SometimesBlocks] {
            let (nothing, half) = (&WAYS[0], Load::steady(handler, workers, 0.5, SECONDS));
            let first = format!("{handler:?}, {workers}: half the load");
            print(&first, nothing, &run(nothing, &half));
            for way in WAYS.iter().chain(&LAWS) {
                let load = Load::steady(handler, workers, 2.0, SECONDS);
                print(&format!("{handler:?}, {workers}"), way, &run(way, &load));
            }
        }
    }
}

fn spike() {
    println!("\n## Half the possible load, with ten seconds of four times as much");
    println!(
        "\nRecovery: from the end of the spike to the first half second in which 95 % of what came was good.\n"
    );
    println!("| way | good/s before | during | after | recovery, s |");
    println!("|---|---:|---:|---:|---:|");
    for way in &WAYS {
        let outcome = run(way, &Load::spike());
        let [before, during, after] = [(0, 2), (2, 12), (12, 20)].map(|(from, to)| {
            let good: usize = outcome.good_by_half_second[2 * from..2 * to].iter().sum();
            good as f64 / (to - from) as f64
        });
        let recovery = outcome.recovery(Duration::from_secs(12));
        println!(
            "| {} | {before:.0} | {during:.0} | {after:.0} | {recovery} |",
            way.name
        );
    }
}

fn main() {
    let section = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let wants = |name| section.as_deref().is_none_or(|section| section == name);
    if wants("cost") {
        cost::run();
    }
    if wants("loads") {
        loads();
    }
    if wants("handlers") {
        handlers();
    }
    if wants("spike") {
        spike();
    }
}
