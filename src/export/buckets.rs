//! The buckets of histograms of lag, for every exporter that has one.

/// In seconds: from a millisecond to ten seconds.
pub(super) const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
