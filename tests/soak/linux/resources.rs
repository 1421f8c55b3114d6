//! What the process has, which must be as much in the end as at the start.

use std::fs;
use std::time::{Duration, Instant};

use crate::linux::faults::fault;

/// What the allocator and what is kept once for all may differ by, in bytes.
const SLACK: usize = 8 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    threads: usize,
    descriptors: usize,
    /// Bytes that are allocated.
    memory: usize,
}

impl Resources {
    pub(crate) fn now() -> Resources {
        // SAFETY: it takes nothing.
        let memory = unsafe { libc::mallinfo2() };
        Resources {
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            memory: memory.uordblks + memory.hblkhd,
        }
    }

    /// Threads take a moment to end.
    pub(crate) fn must_be_there_again(self) {
        let until = Instant::now() + Duration::from_secs(30);
        let mut now = Resources::now();
        while Instant::now() < until && !self.are_there(now) {
            std::thread::sleep(Duration::from_millis(20));
            now = Resources::now();
        }
        println!("{self:?} at the start, {now:?} at the end");
        if !self.are_there(now) {
            fault("that is more than at the start");
        }
    }

    fn are_there(self, now: Resources) -> bool {
        now.threads <= self.threads
            && now.descriptors <= self.descriptors
            && now.memory <= self.memory + SLACK
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
