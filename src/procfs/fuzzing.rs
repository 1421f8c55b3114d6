//! Lines of `/proc` that may have any content. See `crate::fuzzing`.

use std::time::Duration;

use super::{Activity, Line, activity, faults, pressure, process_time, times};

/// Returns the state of a thread, by its `stat`.
pub fn state(content: &[u8]) -> Option<char> {
    super::state(line(content).text())
}

/// Returns the call, the arguments, the stack pointer and the program counter of a blocked thread, by its `syscall`.
pub fn blocked_at(content: &[u8]) -> Option<(Option<u32>, [u64; 6], u64, u64)> {
    match activity(line(content).text())? {
        Activity::Blocked(at) => Some((at.call, at.arguments, at.sp, at.pc)),
        Activity::Running | Activity::Gone | Activity::Hidden => None,
    }
}

/// Returns the times on a CPU and waiting for one, and the turns, by a thread's `schedstat`. Also reads it as the
/// pressure of the machine.
pub fn schedule(content: &[u8]) -> Option<(Duration, Duration, u64)> {
    let line = line(content);
    pressure(line.text());
    times(line.text()).map(|times| (times.on_cpu, times.waited, times.turns))
}

/// Returns the page faults of a thread, minor and major, and the time of a process on CPUs, by their `stat`.
pub fn stat(content: &[u8]) -> (Option<(u64, u64)>, Option<Duration>) {
    let line = line(content);
    let faults = faults(line.text()).map(|faults| (faults.minor, faults.major));
    (faults, process_time(line.text()))
}

/// What is read of a file with this content.
fn line(content: &[u8]) -> Line {
    let mut line = Line {
        length: content.len().min(512),
        ..Line::EMPTY
    };
    line.bytes[..line.length].copy_from_slice(&content[..line.length]);
    line
}
