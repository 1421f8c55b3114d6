//! What the page shows of the past of one monitor, in bounded memory. Pure: the time comes with what happens.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::sample::Sample;

/// The limits between the bands of lag, in microseconds: four to each power of ten, from 100 µs to 10 s.
pub(super) const BANDS: [u64; 21] = [
    100, 178, 316, 562, 1_000, 1_778, 3_162, 5_623, 10_000, 17_783, 31_623, 56_234, 100_000,
    177_828, 316_228, 562_341, 1_000_000, 1_778_279, 3_162_278, 5_623_413, 10_000_000,
];

/// The columns of each range.
const COLUMNS: usize = 240;

/// The steps of the ranges of a minute, ten minutes and an hour, in milliseconds.
const STEPS: [i64; 3] = [250, 2_500, 15_000];

/// The samples of an hour, in coarser steps the older they are.
#[derive(Debug)]
pub(super) struct History([Range; 3]);

#[derive(Debug)]
pub(super) struct Range {
    step: i64,
    pub(super) columns: VecDeque<Column>,
}

/// The samples of one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Column {
    /// When it begins, in milliseconds since 1970.
    pub(super) at: i64,
    pub(super) samples: u32,
    pub(super) missed: u64,
    pub(super) max_us: u64,
    pub(super) tasks: usize,
    pub(super) queue_depth: usize,
    /// The sum of all samples; what is shown is the mean.
    #[serde(skip)]
    busy: f64,
    /// Counts the samples below each limit, and those above all.
    #[serde(skip)]
    bands: [u32; BANDS.len() + 1],
}

impl Column {
    fn new(at: i64) -> Column {
        Column {
            at,
            samples: 0,
            missed: 0,
            max_us: 0,
            tasks: 0,
            queue_depth: 0,
            busy: 0.0,
            bands: [0; BANDS.len() + 1],
        }
    }

    fn add(&mut self, sample: &Sample) {
        let lag = micros(sample.lag);
        self.samples = self.samples.saturating_add(1);
        self.missed = self.missed.saturating_add(sample.missed);
        self.max_us = self.max_us.max(lag);
        self.tasks = self.tasks.max(sample.tasks);
        self.queue_depth = self.queue_depth.max(sample.queue_depth);
        self.busy += sample.busy;
        let band = BANDS.partition_point(|limit| *limit <= lag);
        self.bands[band] = self.bands[band].saturating_add(1);
    }

    pub(super) fn busy(&self) -> f64 {
        self.busy / f64::from(self.samples.max(1))
    }

    /// The bands that have samples, and how many.
    pub(super) fn bands(&self) -> impl Iterator<Item = (usize, u32)> {
        let bands = self.bands.iter().copied().enumerate();
        bands.filter(|(_, count)| *count > 0)
    }
}

impl History {
    pub(super) fn new() -> History {
        History(STEPS.map(|step| Range {
            step,
            columns: VecDeque::with_capacity(COLUMNS + 1),
        }))
    }

    pub(super) fn sample(&mut self, sample: &Sample) {
        let at = sample.data_at.timestamp_millis();
        for range in &mut self.0 {
            range.column(at).add(sample);
        }
    }

    /// The range with this [`step`].
    pub(super) fn range(&self, length: Duration) -> &Range {
        let [minute, ten_minutes, hour] = &self.0;
        let step = step(length);
        let is_it = |range: &&Range| range.step == step;
        [minute, ten_minutes]
            .into_iter()
            .find(is_it)
            .unwrap_or(hour)
    }
}

/// The step of the shortest range that is at least so long, in milliseconds.
pub(super) fn step(length: Duration) -> i64 {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    let is_enough = |step: &i64| step * COLUMNS as i64 >= length;
    let [.., hour] = STEPS;
    STEPS.into_iter().find(is_enough).unwrap_or(hour)
}

impl Range {
    fn column(&mut self, at: i64) -> &mut Column {
        let begins = at - at.rem_euclid(self.step);
        // A clock that was set back goes on in the last column.
        if self.columns.back().is_none_or(|last| last.at < begins) {
            self.columns.push_back(Column::new(begins));
            let oldest = begins - self.step * COLUMNS as i64;
            while self.columns.front().is_some_and(|first| first.at <= oldest) {
                self.columns.pop_front();
            }
        }
        let last = self.columns.len() - 1;
        &mut self.columns[last]
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn sample(at: i64, lag: u64) -> Sample {
        let at = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(at);
        Sample::new(Duration::from_micros(lag), 3, at)
    }

    #[test]
    fn keeps_an_hour_in_coarser_steps() {
        let mut history = History::new();
        for at in 0..(2 * 3_600 * 10) {
            history.sample(&sample(at * 100, 50));
        }
        for (length, step) in [(60, 250), (600, 2_500), (3_600, 15_000), (99_999, 15_000)] {
            let range = history.range(Duration::from_secs(length));
            assert_eq!(range.step, step);
            assert_eq!(range.columns.len(), COLUMNS);
            let samples: u32 = range.columns.iter().map(|column| column.samples).sum();
            assert!(u64::from(samples) > 2_390 * u64::try_from(step).unwrap() / 1_000);
        }
        let bytes = size_of::<Column>() * 3 * (COLUMNS + 1);
        assert!(bytes < 128 * 1024, "{bytes}");
    }

    #[test]
    fn a_rare_spike_stays_visible() {
        let mut history = History::new();
        for at in 0..10_000 {
            let lag = if at == 7_000 { 2_000_000 } else { 60 };
            history.sample(&sample(at * 10, lag));
        }
        let hour = history.range(Duration::from_secs(3_600));
        let spike: Vec<_> = hour
            .columns
            .iter()
            .filter(|column| column.max_us > 100)
            .collect();
        assert_eq!(spike.len(), 1);
        let bands: Vec<_> = spike[0].bands().collect();
        assert_eq!(bands[1..], [(18, 1)]);
        assert!(BANDS[17] <= 2_000_000 && 2_000_000 < BANDS[18]);
    }

    #[test]
    fn a_clock_that_is_set_loses_nothing() {
        let mut history = History::new();
        for at in [1_000_000, 500, 2_000_000, i64::from(i32::MAX)] {
            history.sample(&sample(at, 1));
        }
        let minute = history.range(Duration::from_secs(60));
        assert_eq!(minute.columns.len(), 1);
        let hour = history.range(Duration::from_secs(3_600));
        assert_eq!(hour.columns.len(), 1);
    }

    #[test]
    fn every_lag_has_a_band() {
        let mut history = History::new();
        for lag in [0, 99, 100, 9_999_999, 10_000_000, u64::MAX] {
            history.sample(&sample(0, lag));
        }
        let minute = history.range(Duration::from_secs(60));
        let bands: Vec<_> = minute.columns[0].bands().collect();
        assert_eq!(bands, [(0, 2), (1, 1), (20, 1), (21, 2)]);
    }
}
