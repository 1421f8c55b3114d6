mod panicking;
mod spans;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::opentelemetry::global::BoxedTracer;
use ::opentelemetry::metrics::MeterProvider;
use ::opentelemetry::trace::{SpanId, Status, TraceContextExt, Tracer, TracerProvider};
use ::opentelemetry::{Context, KeyValue};
use chrono::DateTime;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor,
};

use super::*;
use crate::feed::guard;
use crate::stack::StackTrace;
use crate::stall::{Cause, OsThread, Phase, StallId};
use crate::syscall::Syscall;

/// A real SDK that keeps what it exports.
struct Sdk {
    metrics: InMemoryMetricExporter,
    meters: SdkMeterProvider,
    spans: InMemorySpanExporter,
    tracers: SdkTracerProvider,
}

impl Sdk {
    fn new() -> Sdk {
        Sdk::sampled(Sampler::AlwaysOn)
    }

    fn sampled(sampler: Sampler) -> Sdk {
        let metrics = InMemoryMetricExporter::default();
        let spans = InMemorySpanExporter::default();
        Sdk {
            meters: SdkMeterProvider::builder()
                .with_periodic_exporter(metrics.clone())
                .build(),
            tracers: SdkTracerProvider::builder()
                .with_simple_exporter(spans.clone())
                .with_sampler(sampler)
                .build(),
            metrics,
            spans,
        }
    }

    fn exporter(&self, monitor: &str, per_worker: bool) -> ToProviders {
        self.named(&Name::new(monitor, 0), per_worker)
    }

    fn named(&self, name: &Name, per_worker: bool) -> ToProviders {
        let tracer = BoxedTracer::new(Box::new(self.tracers.tracer("loopmon")));
        ToProviders::new(name, per_worker, &self.meters.meter("loopmon"), tracer)
    }

    /// Calls `read` with every metric that is exported now.
    fn collect<T>(&self, mut read: impl FnMut(&Metric) -> Option<T>) -> Vec<T> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let scopes = exported
            .iter()
            .flat_map(|resource| resource.scope_metrics());
        let metrics = scopes.flat_map(|scope| scope.metrics());
        metrics.filter_map(&mut read).collect()
    }

    /// The series of an instrument with their values, written as `monitor=main,…`.
    fn series(&self, name: &str) -> BTreeMap<String, f64> {
        let found = self.collect(|metric| (metric.name() == name).then(|| points(metric)));
        found.into_iter().flatten().collect()
    }

    /// The value of the only series of an instrument.
    fn value(&self, name: &str) -> f64 {
        let series = self.series(name);
        assert_eq!(series.len(), 1, "{name}: {series:?}");
        *series.values().next().unwrap()
    }

    fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }
}

fn points(metric: &Metric) -> Vec<(String, f64)> {
    fn of<T: Copy>(data: &MetricData<T>, value: impl Fn(T) -> f64) -> Vec<(String, f64)> {
        match data {
            MetricData::Gauge(gauge) => gauge
                .data_points()
                .map(|point| (labels(point.attributes()), value(point.value())))
                .collect(),
            MetricData::Sum(sum) => sum
                .data_points()
                .map(|point| (labels(point.attributes()), value(point.value())))
                .collect(),
            MetricData::Histogram(histogram) => histogram
                .data_points()
                .map(|point| (labels(point.attributes()), value(point.sum())))
                .collect(),
            MetricData::ExponentialHistogram(_) => panic!("none is asked for"),
        }
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => of(data, |value| value),
        AggregatedMetrics::U64(data) => of(data, |value| value as f64),
        AggregatedMetrics::I64(data) => of(data, |value| value as f64),
    }
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let labels = attributes.map(|attribute| format!("{}={}", attribute.key, attribute.value));
    // The SDK guarantees no order.
    let labels: BTreeSet<String> = labels.collect();
    Vec::from_iter(labels).join(",")
}

fn sample(lag: Duration, tasks: usize) -> Sample {
    let mut sample = Sample::new(lag, tasks, clock::utc_now());
    sample.missed = 1;
    sample.queue_depth = 4;
    sample.busy = 0.25;
    sample
}

fn stall(phase: Phase, worker: usize, began: i64, lasted: f64) -> Stall {
    Stall {
        thread: Some(OsThread::current()),
        id: StallId::of(&(worker, began)),
        began_at: DateTime::from_timestamp(began, 0).unwrap(),
        duration: seconds(lasted),
        ..Stall::of(worker, phase)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn at(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

fn close(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-9
}

/// The value of an attribute that must be set once: SDKs keep every value that is set.
fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found: Vec<_> = attributes
        .iter()
        .filter(|attribute| attribute.key.as_str() == key)
        .collect();
    assert_eq!(found.len(), 1, "{key} in {attributes:?}");
    found[0].value.to_string()
}

fn has(attributes: &[KeyValue], key: &str) -> bool {
    attributes.iter().any(|each| each.key.as_str() == key)
}

#[test]
fn samples_become_a_histogram_and_levels() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    exporter.sample(&sample(seconds(0.002), 5), clock::now());
    exporter.sample(&sample(seconds(0.2), 3), clock::now());
    assert!(close(sdk.value("loopmon.lag"), 0.202));
    assert!(close(sdk.value("loopmon.task.count"), 3.0));
    assert!(close(sdk.value("loopmon.queue.length"), 4.0));
    assert!(close(sdk.value("loopmon.worker.utilization"), 0.25));
    assert!(close(sdk.value("loopmon.sample.missed"), 2.0));

    let buckets = sdk.collect(|metric| match metric.data() {
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            let point = histogram.data_points().next()?;
            Some((
                Vec::from_iter(point.bounds()),
                Vec::from_iter(point.bucket_counts()),
            ))
        }
        _ => None,
    });
    let (bounds, counts) = &buckets[0];
    assert_eq!(bounds, &crate::export::buckets::BUCKETS);
    assert_eq!(counts[1], 1);
    assert_eq!(counts[7], 1);

    exporter.detached();
    for name in [
        "loopmon.task.count",
        "loopmon.queue.length",
        "loopmon.worker.utilization",
    ] {
        assert!(close(sdk.value(name), 0.0), "{name}");
    }
}

#[test]
fn all_that_counts_begins_at_zero() {
    let sdk = Sdk::new();
    let _exporter = sdk.exporter("main", false);
    let stalls = sdk.series("loopmon.stall.count");
    assert_eq!(stalls.len(), Cause::LABELS.len());
    for cause in Cause::LABELS {
        let series = format!("loopmon.monitor.name=main,loopmon.stall.cause={cause}");
        assert!(close(stalls[&series], 0.0), "{series}");
    }
    for name in [
        "loopmon.sample.missed",
        "loopmon.stall.time",
        "loopmon.stall.age",
        "loopmon.stall.active",
        "loopmon.stall.report.missed",
    ] {
        assert!(close(sdk.value(name), 0.0), "{name}");
    }
}

#[test]
fn a_stall_shows_while_it_lasts() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    let t0 = clock::now();
    exporter.stall(&stall(Phase::Started, 1, 7, 0.1), t0);
    assert!(exporter.wants_tick());
    let on_cpu = "loopmon.monitor.name=main,loopmon.stall.cause=on_cpu";
    assert!(close(sdk.series("loopmon.stall.count")[on_cpu], 1.0));
    assert!(close(sdk.value("loopmon.stall.active"), 1.0));

    exporter.stall(&stall(Phase::Ongoing, 1, 7, 1.5), t0);
    exporter.tick(t0 + seconds(0.75));
    assert!(close(sdk.value("loopmon.stall.age"), 2.25));
    assert!(close(sdk.value("loopmon.stall.time"), 2.25));

    exporter.stall(&stall(Phase::Ended, 1, 7, 2.9), t0 + seconds(2.9));
    assert!(!exporter.wants_tick());
    assert!(close(sdk.value("loopmon.stall.active"), 0.0));
    assert!(close(sdk.value("loopmon.stall.age"), 0.0));
    assert!(close(sdk.value("loopmon.stall.time"), 2.9));
    assert!(close(sdk.series("loopmon.stall.count")[on_cpu], 1.0));
}

#[test]
fn workers_have_an_attribute_only_if_it_is_set() {
    for (per_worker, workers) in [(false, 1), (true, 2)] {
        let sdk = Sdk::new();
        let mut exporter = sdk.exporter("main", per_worker);
        for worker in [2, 5] {
            exporter.stall(&stall(Phase::Started, worker, 7, 1.0), clock::now());
        }
        let stalls = sdk.series("loopmon.stall.count");
        assert_eq!(stalls.len(), 6 * workers);
        assert_eq!(sdk.series("loopmon.stall.time").len(), workers);
        assert_eq!(sdk.series("loopmon.stall.age").len(), workers);
        let of_5 = "loopmon.monitor.name=main,loopmon.stall.cause=on_cpu,loopmon.worker.index=5";
        assert_eq!(stalls.contains_key(of_5), per_worker);
    }
}

#[test]
fn monitors_of_one_name_have_an_index() {
    let sdk = Sdk::new();
    for (index, tasks) in [(0, 5), (1, 3)] {
        let mut exporter = sdk.named(&Name::new("main", index), false);
        exporter.sample(&sample(Duration::ZERO, tasks), clock::now());
        exporter.stall(&stall(Phase::Ended, 0, 7, 1.0), clock::now());
    }
    let tasks = sdk.series("loopmon.task.count");
    let second = "loopmon.monitor.index=1,loopmon.monitor.name=main";
    assert!(close(tasks["loopmon.monitor.name=main"], 5.0), "{tasks:?}");
    assert!(close(tasks[second], 3.0), "{tasks:?}");
    assert_eq!(sdk.series("loopmon.stall.time").len(), 2);
    let spans = sdk.spans();
    assert!(!has(&spans[0].attributes, "loopmon.monitor.index"));
    assert_eq!(
        attribute(&spans[1].attributes, "loopmon.monitor.index"),
        "1"
    );
}

#[test]
fn odd_names_are_taken_as_they_are() {
    let sdk = Sdk::new();
    for name in ["", "a \"b\"\n{c}=é\0"] {
        let mut exporter = sdk.exporter(name, false);
        exporter.sample(&sample(Duration::ZERO, 5), clock::now());
        let series = format!("loopmon.monitor.name={name}");
        assert!(close(sdk.series("loopmon.task.count")[&series], 5.0));
    }
}

#[test]
fn a_sample_costs_no_allocation_of_ours() {
    // No provider is set in this process, so every allocation is ours.
    let meter = global::meter("loopmon");
    let mut exporter = ToProviders::new(
        &Name::new("main", 0),
        true,
        &meter,
        global::tracer("loopmon"),
    );
    let sample = sample(Duration::ZERO, 5);
    exporter.sample(&sample, clock::now());
    let allocated = allocation_counter::measure(|| exporter.sample(&sample, clock::now()));
    assert_eq!(allocated.count_total, 0);
}
