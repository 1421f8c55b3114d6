//! What does it cost to export a sample, and how much is there to scrape?
//!
//! Each exporter has a thread of its own, whose CPU time is what it costs. Beside it a plain reader: a
//! thread that waits for the same samples and drops them, and one that does so on a runtime, as the
//! exporters' threads do. They take turns. In bursts of 1,000 samples what is done with a sample shows;
//! one by one most of it is what the machine takes to wake a thread.
#![allow(
    clippy::disallowed_methods,
    reason = "clock.rs is for the crate itself: a bench has a clock of its own"
)]

#[path = "shared/cpu.rs"]
mod cpu;
#[path = "shared/figures.rs"]
mod figures;

use std::error::Error;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ::tracing::Level;
use figures::Figures;
use futures::executor::block_on;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use loopmon::export::{Metrics, OpenTelemetry, Tracing};
use loopmon::{Monitor, Sampler, Samples, SleepSampler};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry::global;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

const WARM_UP: Duration = Duration::from_millis(300);
const BURST: usize = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What takes samples.
struct Subject {
    name: &'static str,
    /// The name of the thread on which it does. There is none once all monitors are gone.
    thread: &'static str,
    start: fn(&[Monitor]) -> Outcome<()>,
}

/// The first is what the others are measured against.
const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "plain reader",
        thread: "plain-reader",
        start: read,
    },
    Subject {
        name: "on a runtime",
        thread: "runtime-reader",
        start: read_on_a_runtime,
    },
    Subject {
        name: "Metrics",
        thread: "loopmon-metrics",
        start: metrics,
    },
    Subject {
        name: "OpenTelemetry",
        thread: "loopmon-otel",
        start: opentelemetry,
    },
    Subject {
        name: "Tracing",
        thread: "loopmon-tracing",
        start: tracing,
    },
];

/// How samples come, on how many runtimes, for how many milliseconds in each of how many turns.
const ROWS: [(Pace, usize, u64, usize); 5] = [
    (Pace::Bursts, 1, 1_000, 11),
    (Pace::Every(1), 1, 1_000, 11),
    (Pace::Every(10), 1, 2_000, 11),
    (Pace::Every(100), 1, 4_000, 7),
    (Pace::Every(100), 64, 2_000, 7),
];

#[derive(Clone, Copy)]
enum Pace {
    Bursts,
    /// One by one, after so many milliseconds.
    Every(u64),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Bursts => f.write_str("in bursts"),
            Pace::Every(millis) => write!(f, "every {millis} ms"),
        }
    }
}

/// Has samples of many lags, in bursts.
struct Bursts {
    pause: SleepSampler,
    taken: usize,
}

impl Sampler for Bursts {
    async fn measure(&mut self, interval: Duration) -> Duration {
        if self.taken % BURST == 0 {
            self.pause.measure(interval).await;
        }
        self.taken += 1;
        Duration::from_micros((self.taken % BURST * 20) as u64)
    }
}

fn read(monitors: &[Monitor]) -> Outcome<()> {
    let streams: Vec<_> = monitors.iter().map(Monitor::subscribe).collect();
    thread::Builder::new()
        .name("plain-reader".to_owned())
        .spawn(move || {
            let all = streams
                .into_iter()
                .map(|samples| samples.for_each(async |_| ()));
            block_on(join_all(all));
        })?;
    Ok(())
}

/// As exporters do, which need timers and share their thread.
fn read_on_a_runtime(monitors: &[Monitor]) -> Outcome<()> {
    let streams: Vec<_> = monitors.iter().map(Monitor::subscribe).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name("runtime-reader".to_owned())
        .spawn(move || {
            let all = streams
                .into_iter()
                .map(|samples| runtime.spawn(samples.for_each(async |_| ())));
            runtime.block_on(join_all(all));
        })?;
    Ok(())
}

fn metrics(monitors: &[Monitor]) -> Outcome<()> {
    for monitor in monitors {
        Metrics::new().start(monitor)?;
    }
    Ok(())
}

fn opentelemetry(monitors: &[Monitor]) -> Outcome<()> {
    for monitor in monitors {
        OpenTelemetry::new().start(monitor)?;
    }
    Ok(())
}

fn tracing(monitors: &[Monitor]) -> Outcome<()> {
    for monitor in monitors {
        Tracing::new().start(monitor)?;
    }
    Ok(())
}

/// A runtime that runs on a thread of its own until this is dropped.
struct Driven {
    runtime: Handle,
    _alive: oneshot::Sender<()>,
}

fn driven() -> Outcome<Driven> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let (alive, ended) = oneshot::channel();
    let driven = Driven {
        runtime: runtime.handle().clone(),
        _alive: alive,
    };
    thread::Builder::new().spawn(move || runtime.block_on(ended))?;
    Ok(driven)
}

fn monitor(number: usize, pace: Pace, runtime: &Handle) -> Outcome<Monitor> {
    let builder = Monitor::builder()
        .name(format!("runtime-{number}"))
        .capacity(1 << 13);
    let monitor = match pace {
        Pace::Bursts => {
            let pause = SleepSampler::new();
            let interval = Duration::from_millis(10);
            builder
                .interval(interval)
                .sampler(Bursts { pause, taken: 0 })
        }
        Pace::Every(millis) => builder.interval(Duration::from_millis(millis)),
    };
    Ok(monitor.install_on(runtime)?)
}

/// The CPU time of the subject's thread for each sample, in µs.
fn turn(subject: &Subject, pace: Pace, runtimes: usize, window: Duration) -> Outcome<f64> {
    let runtimes: Vec<_> = (0..runtimes).map(|_| driven()).collect::<Outcome<_>>()?;
    let monitors: Vec<_> = runtimes
        .iter()
        .enumerate()
        .map(|(number, driven)| monitor(number, pace, &driven.runtime))
        .collect::<Outcome<_>>()?;
    (subject.start)(&monitors)?;
    thread::sleep(WARM_UP);
    let counts: Vec<_> = monitors.iter().map(Monitor::subscribe).collect();
    let before = cpu::time(Some(subject.thread))?;
    thread::sleep(window);
    let used = cpu::time(Some(subject.thread))?.saturating_sub(before);
    let samples: u64 = counts.into_iter().map(published).sum();
    for monitor in &monitors {
        monitor.stop();
    }
    drop((monitors, runtimes));
    // A thread may end while it is looked at.
    while cpu::time(Some(subject.thread)).map_or(true, |used| !used.is_zero()) {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(used.as_secs_f64() * 1e6 / samples as f64)
}

/// How many samples there have been since `samples` was made.
fn published(mut samples: Samples) -> u64 {
    let mut buffered = 0;
    while let Some(Some(_)) = samples.next().now_or_never() {
        buffered += 1;
    }
    buffered + samples.missed()
}

/// Has an SDK that nobody collects from, a log without samples, and the recorder of Prometheus with
/// its endpoint, on threads of their own.
fn install() -> Outcome<SocketAddr> {
    let never = Duration::from_secs(3_600);
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).with_interval(never);
    let meters = SdkMeterProvider::builder().with_reader(reader.build());
    global::set_meter_provider(meters.build());
    tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .with_max_level(Level::INFO)
        .init();
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let lag = Matcher::Full("loopmon_lag_seconds".to_owned());
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(lag, Metrics::BUCKETS)?
        .install()?;
    Ok(address)
}

/// What a scrape has, and how long it takes.
fn print_scrape(address: SocketAddr) -> Outcome<()> {
    let mut answer = String::new();
    let mut scrape = || {
        answer.clear();
        let began = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        stream.read_to_string(&mut answer)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    let took: Figures = (0..101)
        .map(|_| scrape())
        .collect::<Outcome<Vec<f64>>>()?
        .into_iter()
        .collect();
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let series: Vec<_> = body
        .lines()
        .filter(|line| line.starts_with("loopmon_"))
        .collect();
    // What is lost costs nothing, so there should be little of it.
    let missed = series
        .iter()
        .filter_map(|line| {
            line.strip_prefix("loopmon_samples_missed_total{")?
                .split_once(' ')
        })
        .map(|(_, missed)| missed.parse::<u64>().map_err(Into::into))
        .sum::<Outcome<u64>>()?;
    println!(
        "a scrape: {} series, {:.1} KiB, {took:.2} ms; samples missed so far: {missed}",
        series.len(),
        body.len() as f64 / 1024.0
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let address = install()?;
    println!("CPU of the reading thread for each sample, µs; median [quartiles] of the turns");
    for (pace, runtimes, millis, turns) in ROWS {
        let window = Duration::from_millis(millis);
        let mut costs = SUBJECTS.map(|_| Vec::new());
        for _ in 0..turns {
            for (subject, costs) in SUBJECTS.iter().zip(&mut costs) {
                costs.push(turn(subject, pace, runtimes, window)?);
            }
        }
        println!(
            "\n{pace}, {runtimes} runtimes{:>30}{:>22}",
            "µs", "above the first"
        );
        for (subject, of_subject) in SUBJECTS.iter().zip(&costs) {
            let above = of_subject
                .iter()
                .zip(&costs[0])
                .map(|(cost, plain)| cost - plain);
            let (above, cost) = (
                above.collect::<Figures>(),
                of_subject.iter().copied().collect::<Figures>(),
            );
            println!("{:20} {cost:>28.2} {above:>28.2}", subject.name);
        }
        print_scrape(address)?;
    }
    Ok(())
}
