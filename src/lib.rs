//! Lightweight event loop monitoring for Tokio.
//!
//! A Tokio runtime is cooperative: a task that does not yield starves the others, silently. Loopmon
//! attaches to a running runtime by its `Handle`, on stable Rust and with no build flags. It publishes
//! a [`Sample`] every interval: how late a task that was ready ran. And it publishes a [`Stall`] while
//! a worker is stuck: which worker, since when, and why.
//!
//! ```text
//!  due     ran            due    ran                 due             ran
//!   |-lag-->|              |-lag->|                   |-----lag------>|
//! --+=======+--------------+======+-------------------+===============+-----> time
//!           |<- interval ->|      |<--- interval ---->|
//! ```
//!
//! ```
//! use std::time::Duration;
//! use loopmon::Monitor;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), loopmon::Error> {
//! let monitor = Monitor::builder()
//!     .interval(Duration::from_millis(10))
//!     .install()?;
//! let mut samples = monitor.subscribe();
//! samples.next().await;
//!
//! // Never do this in async code.
//! std::thread::sleep(Duration::from_millis(100));
//!
//! let sample = samples.next().await.unwrap();
//! assert!(sample.lag >= Duration::from_millis(90));
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! | for | see |
//! |---|---|
//! | what lag means on each flavour of runtime, and how to read it | [`docs::guide`] |
//! | where to attach: actix-web, Rocket, several runtimes, tests | [`docs::frameworks`] |
//! | setting up and stopping | [`Monitor`], [`Builder`], [`create`] |
//! | reading | [`Samples`] |
//! | stalls: what is seen, and what not | [`docs::stalls`], [`Monitor::stalls`], [`Stall`], [`Cause`] |
//! | adapters: filters, averages, percentiles, alerts, summaries | [`SampleStreamExt`] |
//! | which adapter serves which purpose | [`docs::combinators`] |
//! | tests that fail if their code blocks | `docs::testing`, `testing::DenyStalls` |
//! | who blocks a worker, by function, file and line | [`docs::stacks`], [`StackTrace`] |
//! | who costs most | [`Monitor::culprits`], [`Culprits`] |
//! | a live page, JSON and a health check that answer while a runtime is stuck | `dashboard` |
//! | functions called with each sample | [`Callback`] |
//! | metrics, alerts and what to do when one fires | [`docs::operating`] |
//! | how lag is measured, and other ways | [`Sampler`], [`SleepSampler`], [`WakeSampler`] |
//! | refusing requests when there are too many | [`docs::shedding`] |
//! | how long `spawn_blocking` waits for a thread | [`BlockingPoolSampler`](struct@BlockingPoolSampler) |
//! | systems, processors and compilers: where what is tested | [`docs::platforms`] |
//! | why it is built as it is | [`docs::design`] |
//!
//! # Features
//!
//! | feature | adds | brings |
//! |---|---|---|
//! | `dashboard` | a live page of all monitors, on a thread of its own | `hyper`, `hyper-util`, `serde_json` |
//! | `histogram` | `summarize`: percentiles for each period | `hdrhistogram` |
//! | `metrics` | `export::Metrics`: samples and stalls for Prometheus and others | `metrics` |
//! | `opentelemetry` | `export::OpenTelemetry`: instruments, and stalls as spans | `opentelemetry` |
//! | `serde` | `Serialize` and `Deserialize` for [`Sample`], [`Stall`] and their parts | `serde` |
//! | `stack` | [`Stall::trace`]: the stack of what is stuck, and stalls of [root futures](Place::RootFuture); on Linux | `addr2line`, `libc`, `miniz_oxide`, `ruzstd` |
//! | `testing` | `testing::DenyStalls`: fails a test whose code blocks the event loop | what `stack` brings |
//! | `tower` | `shed`: refusing what is too much | `http`, `tower-layer`, `tower-service` |
//! | `tracing` | `export::Tracing`: stalls and pauses as events | `tracing` |
//! | `full` | all of them | |
//!
//! None is on by default. A feature adds items and never changes a type. The crate needs Rust 1.85; with
//! `stack` or `testing` 1.87, or one [command](crate::docs::platforms#compilers-and-dependencies).
//! Without features it brings 19 crates, itself included (`cargo tree -e normal`). A program that uses
//! `tokio` and `futures` has 11 of them anyway.
//!
//! # Cost
//!
//! A sample costs one timer wake-up and no allocation. Stall detection starts with the first who asks for stalls: a
//! stream, a callback, an exporter, the account of culprits. It takes three threads for the whole process (four with
//! the `stack` feature); callbacks for stalls and foreign wakers have one each. `benches/README.md` in the repository
//! has the figures and the programs that print them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "stack"), forbid(unsafe_code))]

#[cfg(any(feature = "tower", feature = "_feed"))]
#[cfg_attr(
    not(all(
        feature = "tower",
        any(feature = "dashboard", feature = "metrics", feature = "opentelemetry")
    )),
    allow(
        dead_code,
        unreachable_pub,
        reason = "`tower` counts; the dashboard, `metrics` and `opentelemetry` show it"
    )
)]
mod admissions;
mod broadcast;
mod callback;
mod clock;
mod culprits;
#[cfg(feature = "dashboard")]
pub mod dashboard;
pub mod docs;
mod error;
#[cfg(feature = "_export")]
pub mod export;
#[cfg(feature = "_feed")]
mod feed;
mod foreign;
#[cfg(loopmon_fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod instrument;
mod monitor;
mod own_thread;
mod per_process;
mod polls;
mod pool_job;
mod procfs;
mod runtime;
mod sample;
mod sampler;
#[cfg(feature = "tower")]
pub mod shed;
mod stack;
mod stall;
mod stats;
pub mod stream;
mod sync;
mod syscall;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
mod waiting;
mod watchdog;

use std::time::Duration;

/// The crate that defines the UTC times in [`Sample`] and [`Stall`], in the version that they use.
pub use chrono;

pub use callback::{Callback, Callbacks, IntoCallbacks};
pub use culprits::{Blame, CallSite, Culprit, Culprits, Tally};
pub use error::Error;
pub use instrument::Instrumented;
pub use monitor::{Builder, Monitor, Samples, Stalls, StopOnDrop};
pub use sample::Sample;
pub use sampler::{BlockingPoolSampler, Sampler, SleepSampler, WakeSampler};
pub use stack::{Frame, NoStack, StackCapture, StackTrace, ThreadState};
pub use stall::{Cause, OsThread, Phase, Place, Stall, StallId};
pub use stats::Percentile;
#[cfg(feature = "histogram")]
pub use stream::LagSummary;
pub use stream::{Alert, Hysteresis, SampleStreamExt};
pub use syscall::Syscall;
pub use threads::join_threads;
pub use watchdog::{Pause, Pauses, pauses};

/// Builds a monitor, installs it on the current runtime and returns at once.
///
/// On a `multi_thread` runtime, the future of `main` is polled on a thread that is no worker. The lag does not
/// show a block there, which delays nothing else. It is a stall: [`Monitor::instrument`] the future to have it
/// reported, or use the `stack` feature, which [detects it](docs::stalls#the-future-of-block_on) on Linux.
///
/// Each callback is called with each sample; `()` means no callback. [`Monitor::builder`] has more
/// settings.
///
/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let monitor = loopmon::create(Duration::from_millis(100), async |sample| println!("{sample}"))?;
/// tokio::time::sleep(Duration::from_millis(250)).await;
/// assert_eq!(monitor.lag(), Duration::ZERO);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If no runtime is current, if it has no timers, or if the interval is zero or longer than Tokio's
/// timers hold.
pub fn create(interval: Duration, callbacks: impl IntoCallbacks) -> Result<Monitor, Error> {
    Monitor::builder()
        .interval(interval)
        .callbacks(callbacks)
        .install()
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
