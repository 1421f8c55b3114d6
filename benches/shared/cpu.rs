//! What the threads of this process have used of the CPU, from Linux's own account.

use std::fs;
use std::io;
use std::time::Duration;

/// The CPU time so far of this process's threads whose name is `named`, or of all.
///
/// Threads that have ended are not in it.
pub(crate) fn time(named: Option<&str>) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let is_asked_for = match named {
            Some(name) => fs::read_to_string(task.join("comm"))?.trim_end() == name,
            None => true,
        };
        if is_asked_for {
            let stat = fs::read_to_string(task.join("schedstat"))?;
            let nanos = stat.split(' ').next().and_then(|field| field.parse().ok());
            total += Duration::from_nanos(nanos.ok_or(io::ErrorKind::InvalidData)?);
        }
    }
    Ok(total)
}
