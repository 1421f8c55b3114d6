//! The causes of stalls and their labels. The watchdog collects the evidence and decides.

use std::fmt;

use crate::syscall::Syscall;

/// Why a worker does not return to its scheduler: a verdict based on evidence.
///
/// The evidence is what the operating system says of the worker's thread, read at least twice during
/// the stall, and what Tokio says of its runtime. It comes from Linux's `/proc`; on other systems the
/// cause is [`Unknown`](Self::Unknown), except for [`ManyPolls`](Self::ManyPolls) and
/// [`Unattended`](Self::Unattended). Without the `stack` feature, which asks the thread itself, one
/// long poll often cannot be distinguished from many. The [guide](crate::docs::stalls) says what each cause
/// leaves open, and what to do about it.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Cause {
    /// The thread waits in the kernel: for a file, a lock, a child process, the end of a sleep.
    #[non_exhaustive]
    Blocked {
        /// The system call that the thread waits in. `None` if it waits elsewhere, such as for a
        /// page of memory, or if the operating system does not say.
        syscall: Option<Syscall>,
    },
    /// The thread runs: in one long poll, or in many that could not be distinguished from one.
    OnCpu,
    /// The worker polls many tasks in a row, each for less than the threshold, and does not get to
    /// its timers and I/O in between.
    ManyPolls,
    /// No thread runs the worker. On `multi_thread`, a task called `block_in_place` and the blocking
    /// pool has no free thread to take over; on `current_thread`, no call of `block_on` is running.
    Unattended,
    /// The thread is ready to run, but the host gives it no CPU time.
    Starved,
    /// The evidence is missing.
    Unknown,
}

impl Cause {
    /// Creates [`Blocked`](Self::Blocked), in a system call or elsewhere, for your own tests.
    #[must_use]
    pub const fn blocked(syscall: Option<Syscall>) -> Cause {
        Cause::Blocked { syscall }
    }

    /// The system call of [`Blocked`](Self::Blocked), where it is known.
    pub(crate) fn syscall(self) -> Option<Syscall> {
        match self {
            Cause::Blocked { syscall } => syscall,
            _ => None,
        }
    }
}

#[cfg(feature = "_feed")]
impl Cause {
    /// The labels of all causes, as exporters show them.
    pub(crate) const LABELS: [&'static str; 6] = [
        "blocked",
        "on_cpu",
        "many_polls",
        "unattended",
        "starved",
        "unknown",
    ];

    pub(crate) fn label(self) -> &'static str {
        Cause::LABELS[match self {
            Cause::Blocked { .. } => 0,
            Cause::OnCpu => 1,
            Cause::ManyPolls => 2,
            Cause::Unattended => 3,
            Cause::Starved => 4,
            Cause::Unknown => 5,
        }]
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(syscall) = self.syscall() {
            return write!(f, "blocked in {syscall}");
        }
        f.write_str(match self {
            Cause::Blocked { .. } => "blocked in the kernel",
            Cause::OnCpu => "running on the CPU",
            Cause::ManyPolls => "many polls in a row",
            Cause::Unattended => "no thread runs it",
            Cause::Starved => "starved of CPU by the host",
            Cause::Unknown => "cause unknown",
        })
    }
}
