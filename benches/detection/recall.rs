//! Blocks of known length: found or not, when, and what is said of them.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on_stream;
use loopmon::{Builder, Cause, Monitor, Phase, Sample, Stall, WakeSampler};
use tokio_stream::Stream;

use crate::load::{self, Block};
use crate::report::{self, Budget, percentile, share};
use crate::{SURE, THRESHOLD};

/// The interval of the peers' samplers.
const INTERVAL: Duration = Duration::from_millis(10);

/// A report that comes later than this after the end is of something else.
const GRACE: Duration = Duration::from_millis(25);

#[derive(Clone, Copy)]
struct Scenario {
    workers: usize,
    loaded: bool,
    /// How many tasks block. None: the root future does, which only the `stack` feature detects.
    streams: usize,
}

/// What was done in one run, and all that was told of it and when.
struct Outcome {
    blocks: Vec<Block>,
    stalls: Vec<(Instant, Stall)>,
    samples: Vec<(Instant, Sample)>,
}

#[derive(Default)]
struct Totals {
    sure: usize,
    sure_live: usize,
    false_alarms: usize,
    late: Vec<f64>,
    error: Vec<f64>,
    told: usize,
    right_thread: usize,
}

pub(crate) fn run(count: usize) -> Vec<Budget> {
    report::header(
        "Blocks of 10 to 200 ms, half sleeping and half spinning; threshold 25 ms, tick 5 ms",
        &[
            "runtime",
            "load",
            "at once",
            "live on the right worker, of those over 37 ms",
            "reported, of those over 25 ms",
            "by a sleep sampler at 10 ms",
            "by a wake sampler at 10 ms",
            "false alarms",
            "reported after threshold, p50 / p99 ms",
            "duration reported − true, min / p50 / p99 ms",
            "right thread",
            "right cause + starved",
        ],
    );
    let mut totals = Totals::default();
    for (workers, loaded, streams) in [
        (0, false, 1),
        (0, true, 1),
        (2, false, 1),
        (2, true, 1),
        (4, false, 1),
        (4, true, 1),
        (2, true, 2),
        (4, true, 2),
        (2, false, 0),
        (2, true, 0),
    ] {
        if streams == 0 && !cfg!(feature = "stack") {
            continue;
        }
        let scenario = Scenario {
            workers,
            loaded,
            streams,
        };
        let watched = outcome(scenario, count, true, Monitor::builder());
        // Apart from the others, as it wakes workers that would have stayed parked.
        let waking = Monitor::builder().sampler(WakeSampler::new());
        let woken = outcome(scenario, count, false, waking);
        print(scenario, &watched, &woken, &mut totals);
    }
    budgets(&totals)
}

/// Runs a scenario, watched by one monitor.
fn outcome(scenario: Scenario, count: usize, stalls: bool, builder: Builder) -> Outcome {
    let runtime = load::runtime(scenario.workers);
    let handle = runtime.handle().clone();
    let (start, started) = tokio::sync::oneshot::channel::<()>();
    let (told, blocks) = mpsc::channel();
    let monitor = builder
        .interval(INTERVAL)
        .capacity(1 << 16)
        .stall_threshold(THRESHOLD)
        .build()
        .expect("a monitor");
    let samples = listen(monitor.subscribe());
    let stalls = stalls.then(|| listen(monitor.stalls()));
    let inside = monitor.clone();
    let driving = thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            if scenario.streams == 0 {
                inside.install().expect("it is a runtime");
                started.await.ok();
                let seed = 7 * scenario.workers + count;
                load::blocks(count, seed as u64, told).await;
                return tokio::time::sleep(Duration::from_millis(100)).await;
            }
            started.await.ok();
            let streams = (0..scenario.streams).map(|stream| {
                let seed = 97 * (stream + 1) + 7 * scenario.workers + count;
                let count = count / scenario.streams;
                tokio::spawn(load::blocks(count, seed as u64, told.clone()))
            });
            for stream in streams.collect::<Vec<_>>() {
                stream.await.expect("it only blocks");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        });
    });
    if scenario.streams > 0 {
        monitor.install_on(&handle).expect("it is a runtime");
    }
    if scenario.loaded {
        load::short_tasks(&handle, 300);
    }
    thread::sleep(Duration::from_millis(300));
    start.send(()).ok();
    driving.expect("a thread").join().expect("it only blocks");
    monitor.stop();
    Outcome {
        blocks: blocks.into_iter().collect(),
        stalls: stalls.into_iter().flatten().collect(),
        samples: samples.into_iter().collect(),
    }
}

/// Keeps all that a stream gives, and when.
fn listen<T: Send + 'static>(
    stream: impl Stream<Item = T> + Send + Unpin + 'static,
) -> Receiver<(Instant, T)> {
    let (told, heard) = mpsc::channel();
    thread::Builder::new()
        .spawn(move || {
            for item in block_on_stream(stream) {
                told.send((Instant::now(), item)).ok();
            }
        })
        .expect("a thread");
    heard
}

impl Outcome {
    fn over(&self, length: Duration) -> impl Iterator<Item = &Block> {
        let blocks = self.blocks.iter();
        blocks.filter(move |block| block.lasted >= length)
    }

    /// What was told of a block: of its worker, from its start until shortly after its end.
    fn of<'a>(&'a self, block: &'a Block) -> impl Iterator<Item = &'a (Instant, Stall)> {
        let stalls = self.stalls.iter();
        stalls.filter(|(_, stall)| is_of(stall, block))
    }

    fn started<'a>(&'a self, block: &'a Block) -> Option<&'a (Instant, Stall)> {
        let mut of_block = self.of(block);
        of_block
            .find(|(at, stall)| stall.phase == Phase::Started && *at <= block.began + block.lasted)
    }

    /// The end of the stall that was told for a block.
    fn end(&self, block: &Block) -> Option<&Stall> {
        let (_, start) = self.started(block)?;
        let mut stalls = self.stalls.iter().map(|(_, stall)| stall);
        stalls.find(|stall| stall.phase == Phase::Ended && stall.id == start.id)
    }

    /// Blocks over the threshold that some sample shows.
    fn sampled(&self) -> String {
        let shown = |block: &&Block| {
            let until = block.began + block.lasted + GRACE + INTERVAL;
            let mut samples = self.samples.iter();
            samples
                .any(|(at, sample)| *at >= block.began && *at <= until && sample.lag >= THRESHOLD)
        };
        share(
            self.over(THRESHOLD).filter(shown).count(),
            self.over(THRESHOLD).count(),
        )
    }

    /// Stalls that nothing was done for, but for those that are put down to the crowded machine.
    fn false_alarms(&self) -> usize {
        let stalls = self.stalls.iter();
        let alarms = stalls.filter(|(_, stall)| {
            stall.phase == Phase::Started
                && stall.cause != Cause::Starved
                && !self.blocks.iter().any(|block| is_of(stall, block))
        });
        alarms.count()
    }
}

/// By the watchdog's own time, as a crowded machine may deliver a report late.
fn is_of(stall: &Stall, block: &Block) -> bool {
    let told_at = stall.began_at + stall.duration;
    let until = block.began_at + block.lasted + GRACE;
    stall.place == block.place && told_at >= block.began_at && told_at <= until
}

fn print(scenario: Scenario, watched: &Outcome, woken: &Outcome, totals: &mut Totals) {
    let sure = watched.over(THRESHOLD + SURE);
    let live = watched
        .over(THRESHOLD + SURE)
        .filter(|block| watched.started(block).is_some());
    let (sure, live) = (sure.count(), live.count());
    let told = watched
        .over(THRESHOLD)
        .filter(|block| watched.of(block).next().is_some());
    let told = told.count();
    let starts: Vec<_> = watched
        .over(THRESHOLD)
        .filter_map(|block| Some((block, watched.started(block)?)))
        .collect();
    let late = starts.iter().map(|(block, (at, _))| {
        at.saturating_duration_since(block.began + THRESHOLD)
            .as_secs_f64()
            * 1e3
    });
    let late: Vec<f64> = late.collect();
    let error: Vec<f64> = watched
        .over(THRESHOLD)
        .filter_map(|block| {
            let end = watched.end(block)?;
            Some((end.duration.as_secs_f64() - block.lasted.as_secs_f64()) * 1e3)
        })
        .collect();
    let right_thread = starts
        .iter()
        .filter(|(block, (_, stall))| {
            stall.thread.as_ref().and_then(|thread| thread.id) == block.thread
        })
        .count();
    let causes = |wanted: fn(&Block, Cause) -> bool| {
        let right = starts
            .iter()
            .filter(|(block, (_, stall))| wanted(block, stall.cause));
        right.count()
    };
    let right_cause = causes(|block, cause| match cause {
        Cause::Blocked { .. } => !block.spun,
        Cause::OnCpu => block.spun,
        _ => false,
    });
    let starved = causes(|_, cause| cause == Cause::Starved);
    let false_alarms = watched.false_alarms();
    report::row(&[
        match scenario.streams {
            0 => format!("`block_on` of {} workers", scenario.workers),
            _ => load::name(scenario.workers),
        },
        if scenario.loaded { "300 tasks" } else { "idle" }.to_owned(),
        scenario.streams.max(1).to_string(),
        share(live, sure),
        share(told, watched.over(THRESHOLD).count()),
        watched.sampled(),
        woken.sampled(),
        false_alarms.to_string(),
        format!(
            "{:.1} / {:.1}",
            percentile(&late, 50.0),
            percentile(&late, 99.0)
        ),
        format!(
            "{:.2} / {:.2} / {:.2}",
            percentile(&error, 0.0),
            percentile(&error, 50.0),
            percentile(&error, 99.0)
        ),
        share(right_thread, starts.len()),
        format!("{} + {starved}", share(right_cause, starts.len())),
    ]);
    totals.sure += sure;
    totals.sure_live += live;
    totals.false_alarms += false_alarms;
    totals.late.extend(late);
    totals.error.extend(error);
    totals.told += starts.len();
    totals.right_thread += right_thread;
}

fn budgets(totals: &Totals) -> Vec<Budget> {
    let p = |values, percent| percentile(values, percent);
    let (late50, late99) = (p(&totals.late, 50.0), p(&totals.late, 99.0));
    let (error0, error50) = (p(&totals.error, 0.0), p(&totals.error, 50.0));
    vec![
        Budget {
            what: "a stall of threshold + 12 ms or more is found live",
            budget: "≥ 99.9 %",
            measured: share(totals.sure_live, totals.sure),
            kept: totals.sure_live * 1_000 >= totals.sure * 999,
        },
        Budget {
            what: "false alarms beside the blocks",
            budget: "none",
            measured: totals.false_alarms.to_string(),
            kept: totals.false_alarms == 0,
        },
        Budget {
            what: "reported after the threshold",
            budget: "p50 ≤ 3 ms, p99 ≤ 10 ms",
            measured: format!("{late50:.1} ms, {late99:.1} ms"),
            kept: late50 <= 3.0 && late99 <= 10.0,
        },
        Budget {
            what: "duration reported at the end against the true one",
            budget: "p50 ≤ 0.2 ms, never under it",
            measured: format!("p50 {error50:.2} ms, least {error0:.2} ms"),
            kept: error50 <= 0.2 && error0 >= 0.0,
        },
        Budget {
            what: "right thread (no stack without the stack feature)",
            budget: "≥ 99 %",
            measured: share(totals.right_thread, totals.told),
            kept: totals.right_thread * 100 >= totals.told * 99,
        },
    ]
}
