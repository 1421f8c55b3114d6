//! Whether a quota throttles the process, by what its control group counts. Other pauses: `gap.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pauses;

/// How often the control group is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The control group of this process.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// The group's `cpu.stat`. `None` if there is none.
    file: Option<PathBuf>,
    last: Throttled,
    read_at: Option<Instant>,
}

/// How often and how long a group has been throttled so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Throttled {
    pub(super) periods: u64,
    pub(super) time: Duration,
}

impl Throttle {
    /// When to call `update` next.
    pub(super) fn due_at(&self) -> Option<Instant> {
        Some(self.read_at? + INTERVAL)
    }

    /// Counts how the process was throttled since the last call, once per [`INTERVAL`].
    pub(super) fn update(&mut self, now: Instant) {
        let passed = self
            .read_at
            .map_or(INTERVAL, |last| now.saturating_duration_since(last));
        if passed < INTERVAL {
            return;
        }
        self.read_at = Some(now);
        // The process may have been moved to another group.
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = files(&groups).find(|file| file.exists());
        let is_another = file != self.file;
        self.file = file;
        let Some(throttled) = self.read() else {
            return;
        };
        let before = std::mem::replace(&mut self.last, throttled);
        let periods = throttled.periods.saturating_sub(before.periods);
        if !is_another && periods > 0 {
            // The group counts the time of each CPU on which the process was held back.
            let time = throttled.time.saturating_sub(before.time).min(passed);
            pauses::add_throttled(periods, time);
        }
    }

    fn read(&self) -> Option<Throttled> {
        parse(&fs::read_to_string(self.file.as_ref()?).ok()?)
    }
}

/// Where the `cpu.stat` of the process's group may be, by `/proc/self/cgroup`, for versions 2 and 1. In a
/// container, the path of the group may be hidden, and its files at the top.
pub(super) fn files(groups: &str) -> impl Iterator<Item = PathBuf> + '_ {
    groups.lines().flat_map(|line| {
        let fields: Vec<_> = line.splitn(3, ':').collect();
        let [_, controllers, path] = fields[..] else {
            return Vec::new();
        };
        let roots: &[&str] = if controllers.is_empty() {
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        } else if controllers.split(',').any(|each| each == "cpu") {
            &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
        } else {
            &[]
        };
        let file = |root: &&str| {
            let (root, path) = (Path::new(root), path.trim_start_matches('/'));
            [root.join(path).join("cpu.stat"), root.join("cpu.stat")]
        };
        roots.iter().flat_map(file).collect()
    })
}

/// Version 2 counts microseconds, version 1 nanoseconds.
pub(super) fn parse(text: &str) -> Option<Throttled> {
    let value = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let time = match value("throttled_usec ") {
        Some(micros) => Duration::from_micros(micros),
        None => Duration::from_nanos(value("throttled_time ")?),
    };
    Some(Throttled {
        periods: value("nr_throttled ")?,
        time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_versions() {
        let throttled = |periods, millis| {
            Some(Throttled {
                periods,
                time: Duration::from_millis(millis),
            })
        };
        let second = "usage_usec 5\nnr_periods 31\nnr_throttled 30\nthrottled_usec 2170000\n";
        assert_eq!(parse(second), throttled(30, 2_170));
        let first = "nr_periods 31\nnr_throttled 2\nthrottled_time 7000000\n";
        assert_eq!(parse(first), throttled(2, 7));
        // A group without a quota.
        assert_eq!(parse("usage_usec 5\nuser_usec 3\n"), None);
    }

    #[test]
    fn finds_the_group() {
        let first = |groups| files(groups).map(|file| file.display().to_string()).next();
        let is = |path: &str| Some(path.to_owned());
        assert_eq!(first("0::/a/b\n"), is("/sys/fs/cgroup/a/b/cpu.stat"));
        assert_eq!(
            first("9:memory:/m\n4:cpu,cpuacct:/c\n0::/\n"),
            is("/sys/fs/cgroup/cpu/c/cpu.stat")
        );
        assert_eq!(first("nonsense"), None);
    }
}
