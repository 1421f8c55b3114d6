//! OpenTelemetry in bad surroundings. What is exported is tested beside the exporter, and by
//! `tests/opentelemetry.sh`.

use std::net::TcpListener;

use futures::StreamExt;
use loopmon::Monitor;
use loopmon::export::OpenTelemetry;
use opentelemetry::global;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::support::{manual, millis, paused_runtime};

#[test]
fn a_monitor_is_exported_once_at_a_time_and_others_may_have_its_name() {
    let monitor = || Monitor::builder().name("only").build().unwrap();
    let first = monitor();
    let export = OpenTelemetry::new().start(&first).unwrap();
    let error = OpenTelemetry::new().start(&first).unwrap_err();
    assert!(error.is_already_exported(), "{error}");
    assert!(OpenTelemetry::new().start(&monitor()).is_ok());

    futures::executor::block_on(export.finish());
    assert!(OpenTelemetry::new().start(&first).is_ok());
}

#[test]
fn a_collector_that_never_answers_loses_nothing_here() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let metrics = MetricExporter::builder().with_http();
    let metrics = metrics.with_endpoint(format!("http://{address}/v1/metrics"));
    let metrics = PeriodicReader::builder(metrics.build().unwrap());
    let kept = InMemoryMetricExporter::default();
    let keeping = PeriodicReader::builder(kept.clone()).with_interval(millis(10));
    let meters = SdkMeterProvider::builder()
        .with_reader(metrics.with_interval(millis(1)).build())
        .with_reader(keeping.build())
        .build();
    let spans = SpanExporter::builder().with_http();
    let spans = spans.with_endpoint(format!("http://{address}/v1/traces"));
    let tracers = SdkTracerProvider::builder()
        .with_batch_exporter(spans.build().unwrap())
        .build();
    global::set_meter_provider(meters);
    global::set_tracer_provider(tracers);

    let (hand, sampler) = manual();
    let builder = Monitor::builder().name("mute collector").sampler(sampler);
    let monitor = builder.build().unwrap();
    let export = OpenTelemetry::new().start(&monitor).unwrap();
    let samples = monitor.subscribe();
    let read = paused_runtime().block_on(async {
        monitor.install().unwrap();
        for lag in 0..Monitor::DEFAULT_CAPACITY as u64 {
            hand.publish(millis(lag)).await;
        }
        monitor.stop();
        monitor.stopped().await;
        samples.count().await
    });
    drop(monitor);
    futures::executor::block_on(export.finish());

    assert_eq!(read, Monitor::DEFAULT_CAPACITY);
    let collected = |_| {
        std::thread::sleep(millis(20));
        lags(&kept, "mute collector") == Some(read as u64)
    };
    assert!(
        (0..500).any(collected),
        "{:?}",
        lags(&kept, "mute collector")
    );
}

/// Returns how many lags of a monitor have been exported.
fn lags(kept: &InMemoryMetricExporter, monitor: &str) -> Option<u64> {
    let exported = kept.get_finished_metrics().unwrap();
    let mut metrics = exported
        .last()?
        .scope_metrics()
        .flat_map(|scope| scope.metrics());
    metrics.find_map(|metric| match metric.data() {
        AggregatedMetrics::F64(MetricData::Histogram(lag)) => {
            let mut points = lag.data_points();
            let point = points.find(|point| {
                let mut attributes = point.attributes();
                attributes.any(|attribute| attribute.value.as_str() == monitor)
            });
            point.map(|point| point.count())
        }
        _ => None,
    })
}
