//! Tests that fail because their code blocks, and tests that do not.
#![cfg(feature = "testing")]

mod blocks;
mod healthy;
mod suite;
mod surroundings;

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use loopmon::testing::DenyStalls;

use super::stalls::{current_thread, multi_thread};
use crate::support::millis;

const THRESHOLD: Duration = millis(50);

/// A block is much longer, as a busy machine may cut it short: what it waits for a CPU does not count.
const BLOCK: Duration = millis(250);

fn deny() -> DenyStalls {
    DenyStalls::over(THRESHOLD)
}

/// Runs a test on the thread of `block_on`, with a runtime of each flavour.
fn in_the_root<F: Future<Output = ()>>(test: impl Fn() -> F) {
    current_thread().block_on(test());
    multi_thread(2).block_on(test());
}

/// The same, with a program that the test spawns.
fn in_a_task<F: Future<Output = ()> + Send + 'static>(program: fn() -> F) {
    in_the_root(|| deny().run(async move { tokio::spawn(program()).await.unwrap() }));
}

fn text(panic: &(dyn Any + Send)) -> String {
    let string = panic.downcast_ref::<String>().cloned();
    let literal = || panic.downcast_ref::<&str>().map(ToString::to_string);
    string.or_else(literal).expect("the text of a panic")
}

/// The message of the panic.
#[track_caller]
fn failure(test: impl FnOnce()) -> String {
    let panicked = catch_unwind(AssertUnwindSafe(test)).expect_err("a test that fails");
    text(&*panicked)
}
