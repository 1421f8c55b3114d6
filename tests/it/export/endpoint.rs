//! The endpoint and the recorder of this process, which all tests share.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use loopmon::export::Metrics;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SetRecorderError,
    SharedString, Unit,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

use crate::support::millis;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Where Prometheus would scrape.
pub(crate) struct Endpoint(SocketAddr);

/// A recorder that panics for gauges of the monitor `touchy` while `PANICS` is set.
struct Touchy(PrometheusRecorder);

pub(super) static PANICS: AtomicBool = AtomicBool::new(false);

impl Recorder for Touchy {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let is_touchy = key.labels().any(|label| label.value() == "touchy");
        assert!(
            !(is_touchy && PANICS.load(Ordering::Relaxed)),
            "asked for by a test"
        );
        self.0.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let histogram = self.0.register_histogram(key, metadata);
        Histogram::from_arc(Arc::new(BetweenScrapes(histogram)))
    }
}

/// Held by each scrape, and while a histogram is written to: the exporter (0.18) loses what is recorded in the
/// moment in which a scrape empties the histogram, and tests of one process scrape for one another.
static SCRAPING: Mutex<()> = Mutex::new(());

struct BetweenScrapes(Histogram);

impl HistogramFn for BetweenScrapes {
    fn record(&self, value: f64) {
        let _scraping = SCRAPING.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.record(value);
    }
}

fn builder() -> (PrometheusBuilder, Endpoint) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let lag = Matcher::Full("loopmon_lag_seconds".to_owned());
    let builder = PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(lag, Metrics::BUCKETS)
        .unwrap();
    (builder, Endpoint(address))
}

/// Opens an endpoint, and another if its port has been taken meanwhile.
pub(crate) fn opened<T>(
    open: impl Fn(PrometheusBuilder) -> Result<T, BuildError>,
) -> (Result<T, BuildError>, Endpoint) {
    let mut tries = (0..100).map(|_| {
        let (builder, endpoint) = builder();
        (open(builder), endpoint)
    });
    let is_open = |result: &_| !matches!(result, Err(BuildError::FailedToCreateHTTPListener(_)));
    let found = tries.find(|(result, _)| is_open(result));
    found.expect("one of the ports is free")
}

/// The endpoint of the recorder that exports go to.
pub(crate) fn endpoint() -> &'static Endpoint {
    static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let (is_open, opening) = mpsc::channel();
        let started = thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let (built, endpoint) = runtime.block_on(async { opened(PrometheusBuilder::build) });
            let (recorder, serve) = built.unwrap();
            let installed: Result<(), SetRecorderError<Touchy>> =
                metrics::set_global_recorder(Touchy(recorder));
            installed.unwrap();
            is_open.send(endpoint).unwrap();
            runtime.block_on(serve).unwrap();
        });
        started.unwrap();
        let endpoint: Endpoint = opening.recv().unwrap();
        eventually(|| endpoint.try_scrape(TIMEOUT).is_ok());
        endpoint
    })
}

impl Endpoint {
    pub(super) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.0).unwrap()
    }

    /// Returns the body of the answer, if it arrives in time.
    pub(crate) fn try_scrape(&self, timeout: Duration) -> std::io::Result<String> {
        let _scraping = SCRAPING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = TcpStream::connect(self.0)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        Ok(body.to_owned())
    }

    pub(crate) fn scrape(&self) -> String {
        self.try_scrape(TIMEOUT).unwrap()
    }

    /// Returns all series of the monitors whose names begin with `monitors`.
    pub(crate) fn series_of(&self, monitors: &str) -> Vec<String> {
        let label = format!("{{monitor=\"{monitors}");
        let text = self.scrape();
        let lines = text.lines().filter(|line| line.contains(&label));
        lines.map(str::to_owned).collect()
    }

    /// Returns the sum of a metric's series of one monitor; `None` if there is none.
    pub(crate) fn value(&self, name: &str, monitor: &str) -> Option<f64> {
        let start = format!("{name}{{monitor=\"{monitor}\"");
        let text = self.scrape();
        let series = text.lines().filter(|line| line.starts_with(&start));
        series
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .reduce(|sum, value| sum + value)
    }

    /// Waits until a metric of a monitor has the expected value.
    #[track_caller]
    pub(crate) fn await_value(&self, name: &str, monitor: &str, expected: f64) {
        let seen = || self.value(name, monitor) == Some(expected);
        eventually_or(seen, || format!("{:#?}", self.series_of(monitor)));
    }
}

/// Waits until `condition` is true.
#[track_caller]
pub(crate) fn eventually(condition: impl Fn() -> bool) {
    eventually_or(condition, String::new);
}

/// Waits until `condition` is true. If it does not become so, the panic shows what there is instead.
#[track_caller]
pub(super) fn eventually_or(condition: impl Fn() -> bool, instead: impl Fn() -> String) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < TIMEOUT,
            "the condition has not become true {}",
            instead()
        );
        thread::sleep(millis(10));
    }
}
