//! The table of instruments in the docs.

use super::*;

#[test]
fn the_table_has_all_instruments() {
    let sdk = Sdk::new();
    let mut exporter = sdk.exporter("main", false);
    exporter.sample(&sample(Duration::ZERO, 5), clock::now());
    exporter.requests(&Totals::default());
    fn of<T>(data: &MetricData<T>) -> &'static str {
        match data {
            MetricData::Gauge(_) => "gauge",
            MetricData::Sum(sum) if sum.is_monotonic() => "counter",
            MetricData::Sum(_) => "up-down counter",
            MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => "histogram",
        }
    }
    let exported: BTreeSet<String> = BTreeSet::from_iter(sdk.collect(|metric| {
        let kind = match metric.data() {
            AggregatedMetrics::F64(data) => of(data),
            AggregatedMetrics::U64(data) => of(data),
            AggregatedMetrics::I64(data) => of(data),
        };
        assert!(!metric.description().is_empty());
        Some(format!(
            "`{}` | {kind} | `{}`",
            metric.name(),
            metric.unit()
        ))
    }));
    let listed: BTreeSet<String> = include_str!("../../opentelemetry.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("/// | ")?.rsplit_once(" | "))
        .map(|(cells, _)| cells.to_owned())
        .filter(|cells| cells.matches(" | ").count() == 2 && cells.starts_with('`'))
        .collect();
    assert_eq!(exported, listed);
}
