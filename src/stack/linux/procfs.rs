//! What `/proc` of Linux says of a thread of this process, and of its memory. Nothing here touches
//! the thread or needs a privilege.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::time::Duration;

use crate::stack::trace::Facts;
use crate::stall::Syscall;

/// What a thread is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// On a CPU, or waiting for one.
    Running,
    Blocked(Blocked),
    Gone,
    /// The system does not tell.
    Hidden,
}

/// Where a thread is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocked {
    /// The number of the system call. `None` if it waits elsewhere, such as for a page of memory.
    pub(super) call: Option<u32>,
    pub(super) arguments: [u64; 6],
    pub(super) sp: u64,
    pub(super) pc: u64,
}

/// How a thread has spent its life so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) on_cpu: Duration,
    pub(super) waited: Duration,
    /// How often it has been put on a CPU.
    pub(super) turns: u64,
}

/// A thread of this process, by its id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread(pub(super) u32);

impl Thread {
    pub(super) fn activity(self) -> Activity {
        match self.read("syscall") {
            Ok(text) => activity(&text).unwrap_or(Activity::Hidden),
            Err(error) if is_gone(&error) => Activity::Gone,
            Err(_) => Activity::Hidden,
        }
    }

    /// `None` where the kernel does not count it.
    pub(super) fn times(self) -> Option<Times> {
        times(&self.read("schedstat").ok()?)
    }

    /// How often it has been taken off a CPU. Slower to read than its times.
    pub(super) fn switches(self) -> Option<u64> {
        switches(&self.read("status").ok()?)
    }

    pub(super) fn facts(self) -> Facts {
        let times = self.times();
        let wait_channel = self.read("wchan").ok();
        Facts {
            syscall: match self.activity() {
                Activity::Blocked(blocked) => blocked.call.map(Syscall::new),
                _ => None,
            },
            wait_channel: wait_channel.filter(|channel| channel != "0" && !channel.is_empty()),
            on_cpu: times.map(|times| times.on_cpu),
            waited_for_cpu: times.map(|times| times.waited),
        }
    }

    /// Whether the file of this number is a pipe.
    pub(super) fn is_pipe(self, file: u64) -> bool {
        let link = fs::read_link(format!("/proc/self/task/{}/fd/{file}", self.0));
        link.is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(b"pipe:"))
    }

    fn read(self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/self/task/{}/{file}", self.0))
    }
}

/// The memory of this process. Reading it fails where nothing is mapped, and never faults.
pub(super) fn memory() -> io::Result<File> {
    File::open("/proc/self/mem")
}

/// A piece of a file, or of nothing, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    pub(super) executable: bool,
    /// Where in its file it begins.
    pub(super) offset: u64,
    /// The path of the file, or a name in brackets.
    pub(super) name: String,
}

pub(super) fn mappings() -> Vec<Mapping> {
    // The names are any bytes.
    let text = fs::read("/proc/self/maps").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(mapping).collect()
}

/// The thread's directory goes first; a file that is open by then answers "no such process".
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// `running`; `-1 <sp> <pc>` outside of a call; or the number, six arguments, sp and pc.
fn activity(text: &str) -> Option<Activity> {
    let mut fields = text.split_ascii_whitespace();
    let first = fields.next()?;
    if first == "running" {
        return Some(Activity::Running);
    }
    let mut next = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let (call, arguments) = if first == "-1" {
        (None, [0; 6])
    } else {
        let arguments = [next()?, next()?, next()?, next()?, next()?, next()?];
        (Some(first.parse().ok()?), arguments)
    };
    Some(Activity::Blocked(Blocked {
        call,
        arguments,
        sp: next()?,
        pc: next()?,
    }))
}

/// `<nanoseconds on a CPU> <nanoseconds waiting for one> <times on a CPU>`
fn times(text: &str) -> Option<Times> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || fields.next()?.ok();
    let [on_cpu, waited, turns] = [next()?, next()?, next()?];
    // Where the kernel does not keep them, all are zero.
    (turns > 0).then_some(Times {
        on_cpu: Duration::from_nanos(on_cpu),
        waited: Duration::from_nanos(waited),
        turns,
    })
}

/// Two lines of many, `voluntary_ctxt_switches:` with a number, and the same with `non` before it.
fn switches(text: &str) -> Option<u64> {
    let count = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse::<u64>().ok()
    };
    Some(count("voluntary_ctxt_switches:")? + count("nonvoluntary_ctxt_switches:")?)
}

/// `<start>-<end> rwxp <offset> <device> <inode>      <name>`
fn mapping(line: &str) -> Option<Mapping> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = hex(fields.next()?)?;
    let name = fields.nth(2).unwrap_or_default().trim_start();
    Some(Mapping {
        range: hex(start)?..hex(end)?,
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        offset,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_running_from_blocked() {
        assert_eq!(activity("running\n"), Some(Activity::Running));
        let blocked = |call, arguments| {
            Some(Activity::Blocked(Blocked {
                call,
                arguments,
                sp: 0x7ffd_0010,
                pc: 0x7f1a_0020,
            }))
        };
        assert_eq!(
            activity("230 0x1 0x0 0x7ffd 0x7ffe 0x0 0xffffffffffffffff 0x7ffd0010 0x7f1a0020\n"),
            blocked(Some(230), [1, 0, 0x7ffd, 0x7ffe, 0, u64::MAX]),
        );
        assert_eq!(activity("-1 0x7ffd0010 0x7f1a0020"), blocked(None, [0; 6]));
        for broken in ["", "230", "230 0x1 0x0", "x 0x1", "-1 0x7ffd0010", "-1 1 2"] {
            assert_eq!(activity(broken), None, "{broken}");
        }
    }

    #[test]
    fn reads_times_and_switches() {
        let read = times("5000000 1000 9\n").unwrap();
        assert_eq!(read.on_cpu, Duration::from_millis(5));
        assert_eq!(read.waited, Duration::from_micros(1));
        assert_eq!(read.turns, 9);
        assert_eq!(times("0 0 0"), None);
        assert_eq!(times("1 2"), None);
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(switches(status), Some(7));
        assert_eq!(switches("Name:\tx\n"), None);
    }

    #[test]
    fn reads_mappings() {
        let line = "7f00-7fff r-xp 00002000 fe:00 247030                     /a path/with blanks";
        assert_eq!(
            mapping(line),
            Some(Mapping {
                range: 0x7f00..0x7fff,
                executable: true,
                offset: 0x2000,
                name: "/a path/with blanks".to_owned(),
            })
        );
        let nameless = mapping("7f00-7fff rw-p 00000000 00:00 0 ").unwrap();
        assert!(nameless.name.is_empty() && !nameless.executable);
        assert_eq!(mapping("nonsense"), None);
        let all = mappings();
        assert!(all.iter().any(|mapping| mapping.name == "[vdso]"));
    }

    #[test]
    fn knows_a_thread_that_is_gone() {
        assert_eq!(Thread(u32::MAX).activity(), Activity::Gone);
        assert!(!Thread(std::process::id()).is_pipe(u64::MAX));
    }
}
