//! What does an adapter cost per sample, and how does that grow with its window?
//!
//! Prints the nanoseconds and the allocations per sample, and beside each windowed adapter the time
//! of a plain loop over the window. Adapters and loops take turns in every round, so that a busy
//! machine hits both; the figure is the median of the rounds, `±` half the distance between their
//! quartiles.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock itself")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::slice;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use chrono::{DateTime, TimeDelta};
use futures::{FutureExt, Stream, StreamExt, stream};
use loopmon::{Hysteresis, Percentile, Sample, SampleStreamExt};

const WINDOWS: [usize; 3] = [10, 1_000, 100_000];
const ROUNDS: usize = 31;
/// Samples in one timing of an adapter, after its window has filled.
const TIMED: usize = 100_000;
/// Lags that one timing of a plain loop looks at.
const LOOKED_AT: usize = 1_000_000;
const INTERVAL: Duration = Duration::from_millis(10);
/// Between samples, with their lag.
const MEAN_GAP: Duration = Duration::from_millis(11);

fn main() {
    let samples = samples(WINDOWS[WINDOWS.len() - 1] + TIMED);
    let mut rows = without_window(&samples);
    for window in WINDOWS {
        rows.extend(with_window(&samples, window));
    }
    for _ in 0..ROUNDS {
        rows.iter_mut().for_each(Row::time);
    }
    println!(
        "{:<18}{:>8}{:>20}{:>26}{:>9}{:>15}",
        "adapter", "window", "ns/sample", "plain loop, ns/sample", "times", "allocs/sample"
    );
    rows.iter().for_each(Row::print);
}

/// As a sampler takes them on a runtime that is mostly well: lags of up to a millisecond, and one
/// in a hundred of up to 100 ms.
fn samples(count: usize) -> Vec<Sample> {
    // xorshift64
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut data_at = DateTime::UNIX_EPOCH;
    (0..count)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let longest = if random % 100 == 0 { 100 } else { 1 };
            let lag = Duration::from_nanos((random >> 32) % (longest * 1_000_000));
            data_at += TimeDelta::from_std(INTERVAL + lag).expect("it is short");
            Sample::new(lag, 0, data_at)
        })
        .collect()
}

fn without_window(samples: &[Sample]) -> Vec<Row<'_>> {
    let ms = Duration::from_millis;
    let thresholds = Hysteresis::new(ms(50), ms(1)).expect("they are in order");
    vec![
        Row::new("(the source)", None, samples, |source| source),
        Row::new("lag_above", None, samples, move |source| {
            source.lag_above(ms(50))
        }),
        Row::new("lag_below", None, samples, move |source| {
            source.lag_below(ms(50))
        }),
        Row::new("lag_sustained", None, samples, move |source| {
            source.lag_sustained(ms(0), ms(50))
        }),
        Row::new("ewma", None, samples, move |source| source.ewma(ms(1_000))),
        Row::new("lag_alerts", None, samples, move |source| {
            source.lag_alerts(thresholds)
        }),
    ]
}

fn with_window(samples: &[Sample], window: usize) -> Vec<Row<'_>> {
    let size = NonZeroUsize::new(window).expect("no window is empty");
    let every = MEAN_GAP * window as u32;
    let p99 = Percentile::P99;
    let window = Some(window);
    vec![
        Row::new("moving_average", window, samples, move |source| {
            source.moving_average(size)
        })
        .beside(samples, |lags| {
            lags.iter().sum::<Duration>() / lags.len() as u32
        }),
        Row::new("moving_max", window, samples, move |source| {
            source.moving_max(size)
        })
        .beside(samples, |lags| {
            lags.iter().max().copied().unwrap_or_default()
        }),
        Row::new("moving_percentile", window, samples, move |source| {
            source.moving_percentile(size, p99)
        })
        .beside(samples, |lags| {
            let mut lags: Vec<_> = lags.iter().copied().collect();
            let rank = (lags.len() * 99).div_ceil(100);
            *lags.select_nth_unstable(rank - 1).1
        }),
        Row::new("summarize", window, samples, move |source| {
            source.summarize(every)
        }),
    ]
}

/// An adapter and the plain loop it is measured beside.
struct Row<'a> {
    name: &'static str,
    window: Option<usize>,
    adapter: Contender<'a>,
    plain_loop: Option<Contender<'a>>,
    allocations: f64,
}

/// Something that times itself, and the nanoseconds per sample of each round.
struct Contender<'a> {
    run: Box<dyn Fn() -> f64 + 'a>,
    nanos: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(run: impl Fn() -> f64 + 'a) -> Contender<'a> {
        Contender {
            run: Box::new(run),
            nanos: Vec::new(),
        }
    }

    fn time(&mut self) {
        self.nanos.push((self.run)());
    }

    /// The median, and half the distance between the quartiles.
    fn result(&self) -> (f64, f64) {
        let mut nanos = self.nanos.clone();
        nanos.sort_by(f64::total_cmp);
        let quartile = |quarter: usize| nanos[(nanos.len() - 1) * quarter / 4];
        (quartile(2), (quartile(3) - quartile(1)) / 2.0)
    }
}

impl<'a> Row<'a> {
    fn new<St: Stream>(
        name: &'static str,
        window: Option<usize>,
        samples: &'a [Sample],
        adapt: impl Fn(stream::Iter<Feed<'a>>) -> St + 'a,
    ) -> Row<'a> {
        let warm_up = window.unwrap_or(0);
        let started = Rc::new(Cell::new(None));
        let run = move |timed| {
            let feed = Feed {
                samples: samples[..warm_up + timed].iter(),
                warm_up,
                started: Rc::clone(&started),
            };
            let end = adapt(stream::iter(feed)).for_each(|item| {
                black_box(item);
                std::future::ready(())
            });
            end.now_or_never().expect("the source never waits");
            started
                .get()
                .map_or(Duration::ZERO, |started: Instant| started.elapsed())
        };
        // What a longer run allocates on top of a shorter one.
        let [more, less] = [TIMED, 1].map(|timed| measure(|| _ = run(timed)).count_total);
        Row {
            name,
            window,
            allocations: (more - less) as f64 / TIMED as f64,
            adapter: Contender::new(move || run(TIMED).as_nanos() as f64 / TIMED as f64),
            plain_loop: None,
        }
    }

    /// The loop that `figure` is over the window, done for each sample.
    fn beside(
        mut self,
        samples: &'a [Sample],
        figure: impl Fn(&VecDeque<Duration>) -> Duration + 'a,
    ) -> Row<'a> {
        let window = self.window.unwrap_or(1);
        let timed = (LOOKED_AT / window).min(TIMED);
        self.plain_loop = Some(Contender::new(move || {
            let lags = samples.iter().map(|sample| sample.lag);
            let mut newest: VecDeque<_> = lags.clone().take(window).collect();
            let started = Instant::now();
            for lag in lags.skip(window).take(timed) {
                newest.pop_front();
                newest.push_back(lag);
                black_box(figure(&newest));
            }
            started.elapsed().as_nanos() as f64 / timed as f64
        }));
        self
    }

    fn time(&mut self) {
        self.adapter.time();
        self.plain_loop.iter_mut().for_each(Contender::time);
    }

    fn print(&self) {
        let window = self
            .window
            .map_or(String::new(), |window| window.to_string());
        let (nanos, spread) = self.adapter.result();
        print!("{:<18}{window:>8}{nanos:>12.1} ± {spread:<5.1}", self.name);
        if let Some(plain_loop) = &self.plain_loop {
            let (plain, spread) = plain_loop.result();
            print!("{plain:>16.1} ± {spread:<7.1}{:>9.1}", plain / nanos);
        } else {
            print!("{:>35}", "");
        }
        println!("{:>15.5}", self.allocations);
    }
}

/// Gives the samples, and notes when it is done with those that only warm up.
struct Feed<'a> {
    samples: slice::Iter<'a, Sample>,
    warm_up: usize,
    started: Rc<Cell<Option<Instant>>>,
}

impl Iterator for Feed<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.warm_up == 0 {
            self.started.set(Some(Instant::now()));
        }
        self.warm_up = self.warm_up.wrapping_sub(1);
        self.samples.next().copied()
    }
}
