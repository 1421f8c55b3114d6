//! A library with its own Tokio runtime, like an extension of a program in another language. Loopmon monitors it
//! with its defaults.
#![allow(unsafe_code, reason = "the host looks functions up by name")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use loopmon::{Monitor, NoStack, Stall};
use tokio::runtime;
use tokio::time::sleep;

static STACKS: AtomicU32 = AtomicU32::new(0);
static REFUSALS: AtomicU32 = AtomicU32::new(0);
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Runs until `plugin_stop`, and stalls again and again in the host's function `stall`.
///
/// # Panics
///
/// Panics if no runtime or monitor can be made.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_run(stall: extern "C" fn()) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let monitor = Monitor::builder()
            .interval(Duration::from_millis(1))
            .stall_threshold(Duration::from_millis(5))
            .stall_callback(async |stall: Stall| count(&stall))
            .install()
            .unwrap();
        while !STOPPED.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(3)).await;
            stall();
        }
        monitor.stop();
        monitor.stopped().await;
    });
}

fn count(stall: &Stall) {
    match stall.trace.as_ref().map(|trace| trace.no_stack()) {
        Some(None) => STACKS.fetch_add(1, Ordering::Relaxed),
        Some(Some(NoStack::InLibrary)) => REFUSALS.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    };
}

/// Ends `plugin_run` after the current stall.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_stop() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// Returns how many reports had a stack.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_stacks() -> u32 {
    STACKS.load(Ordering::Relaxed)
}

/// Returns how many reports said that no signal may be handled in a library.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_refusals() -> u32 {
    REFUSALS.load(Ordering::Relaxed)
}
