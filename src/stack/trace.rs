//! The stack of a stuck thread, as the user reads it. How it is taken is in `linux/`.

use std::fmt;
use std::time::Duration;

use super::frame::Frame;
use super::target::Shows;
use crate::syscall::Syscall;

/// The stack of a stuck thread, taken while it was stuck. [`Stall::trace`](crate::Stall::trace) has it, with
/// the `stack` feature.
///
/// `Display` prints the calls as a Rust backtrace has them, the innermost first. It prints only the user's
/// part: what the task has called, without the runtime that polls the task. `{:#}` prints all calls. Both
/// mark the [culprit](Self::culprit) by a `>`. If no stack could be taken, both print why, and the state of
/// the thread.
///
/// With the `serde` feature, it implements `Serialize` and `Deserialize`. The culprit is the index of its
/// frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StackTrace {
    pub(super) frames: Vec<Frame>,
    /// Counts the innermost frames that are the user's part.
    pub(super) users: usize,
    /// The index of the innermost call of the user's own code.
    pub(super) culprit: Option<usize>,
    pub(super) truncated: bool,
    pub(super) handed_over: bool,
    pub(super) guessed_frame_pointer: bool,
    pub(super) scanned: bool,
    pub(super) unwinding: bool,
    pub(super) beyond_budget: bool,
    pub(super) without_debug_information: bool,
    pub(super) no_stack: Option<NoStack>,
    pub(super) thread_state: ThreadState,
    pub(super) capture_time: Duration,
    pub(super) resolve_time: Duration,
}

impl StackTrace {
    /// Returns all calls, the innermost first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Returns the calls of the user's part, the innermost first: from where the thread is stuck to the
    /// function that the runtime has called. Returns all calls if the runtime's functions have no names, as
    /// in a stripped program.
    #[must_use]
    pub fn user_frames(&self) -> &[Frame] {
        self.frames.get(..self.users).unwrap_or(&self.frames)
    }

    /// Returns the culprit: the innermost call of your own code, which is not in the standard library, in a
    /// dependency or in the runtime. It is what to change; what is further in is how it blocks.
    ///
    /// Where the source of a call lies decides whose it is; without debug information, its crate does.
    /// [`StackCapture::own`](crate::StackCapture::own) names crates of yours that loopmon does not recognise.
    /// Returns `None` if no call is known to be yours, if one further in may be, or if the calls
    /// [may be wrong](Self::is_unwinding). The guide has [the rules](crate::docs::stacks#the-culprit).
    ///
    /// ```no_run
    /// # fn blame(stall: loopmon::Stall) {
    /// if let Some(culprit) = stall.trace.as_ref().and_then(|trace| trace.culprit()) {
    ///     println!("{:?} at {:?}:{:?}", culprit.function(), culprit.file(), culprit.line());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn culprit(&self) -> Option<&Frame> {
        self.frames.get(self.culprit?)
    }

    /// Returns the index of the culprit among the calls.
    #[cfg(feature = "tracing")]
    pub(crate) fn culprit_index(&self) -> Option<usize> {
        self.culprit
    }

    /// Whether the outermost calls are missing. Either the stack is deeper than what was
    /// [copied](crate::StackCapture::stack_bytes), or code on it has no unwind tables.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Whether the frame pointer was found heuristically and may be wrong.
    ///
    /// The system does not report the frame pointer of a blocked thread, nor the return address that AArch64 may
    /// keep in a register. The calls that they lead to were checked against the calls in the code. On AArch64, the
    /// second call may show the line at which its function begins.
    #[must_use]
    pub fn has_guessed_frame_pointer(&self) -> bool {
        self.guessed_frame_pointer
    }

    /// Whether calls may be missing, or may be left from calls that have returned. Code on the stack has no
    /// unwind tables, so that its caller was searched for.
    #[must_use]
    pub fn is_scanned(&self) -> bool {
        self.scanned
    }

    /// Whether the thread was in the middle of a panic, or of another exception: the unwinder was about to set
    /// the stack to that of an outer call. The outer calls may be wrong.
    #[must_use]
    pub fn is_unwinding(&self) -> bool {
        self.unwinding
    }

    /// Whether the program's debug information was too large to read all that was needed of it. The
    /// [offsets](Frame::offset) help to find the missing names and lines.
    #[must_use]
    pub fn exceeds_budget(&self) -> bool {
        self.beyond_budget
    }

    /// Whether the program has no debug information, so that none of its frames has a line.
    #[must_use]
    pub fn lacks_debug_information(&self) -> bool {
        self.without_debug_information
    }

    /// Whether the thread is inside `tokio::task::block_in_place`, and has handed its worker over. A report has
    /// such a stack if no other thread runs the worker, which is then
    /// [unattended](crate::Cause::Unattended): it is the stack of the thread that has left the worker.
    #[must_use]
    pub fn has_handed_over(&self) -> bool {
        self.handed_over
    }

    /// Returns why there are no frames, or `None` if there are some.
    #[must_use]
    pub fn no_stack(&self) -> Option<NoStack> {
        self.no_stack
    }

    /// Returns what the system reports of the thread, with or without a stack.
    #[must_use]
    pub fn thread_state(&self) -> &ThreadState {
        &self.thread_state
    }

    /// Returns what the stack shows of the worker that the thread runs.
    pub(crate) fn shows(&self) -> Option<Shows> {
        const WORKER: &str = "tokio::runtime::scheduler::multi_thread::worker::";
        if self.handed_over {
            return Some(Shows::HandedOver);
        }
        let mut functions = self.frames.iter().filter_map(Frame::function);
        let is_worker = functions.any(|function| function.contains(WORKER));
        is_worker.then_some(Shows::Polls)
    }

    /// Returns how long it took to capture the stack, while the thread was stuck.
    #[must_use]
    pub fn capture_time(&self) -> Duration {
        self.capture_time
    }

    /// Returns how long it took to resolve the stack to functions and lines, on a thread of loopmon's own.
    ///
    /// The first stack in a while takes longer, as the program's debug information is read.
    /// [`Stall::trace`](crate::Stall::trace) says how long a report waits for that.
    #[must_use]
    pub fn resolve_time(&self) -> Duration {
        self.resolve_time
    }

    /// Returns each possible doubt about these frames, and whether it applies.
    fn doubts(&self, frames: &[Frame]) -> [(bool, &'static str); 7] {
        [
            (
                self.handed_over,
                "the thread has handed its worker over, by `block_in_place`",
            ),
            (
                self.scanned,
                "some code has no unwind tables: calls may be missing",
            ),
            (
                self.unwinding,
                "in the middle of a panic: outer calls may be wrong",
            ),
            (self.guessed_frame_pointer, "the frame pointer is guessed"),
            (
                self.truncated && frames.len() == self.frames.len(),
                "outer calls are missing",
            ),
            (
                self.beyond_budget,
                "too much debug information: names come from the symbol table",
            ),
            (
                self.without_debug_information,
                "no debug information: set `debug = \"limited\"` in the profile",
            ),
        ]
    }
}

impl fmt::Display for StackTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(no_stack) = self.no_stack {
            return write!(f, "no stack: {no_stack} ({})", self.thread_state);
        }
        let full = f.alternate();
        let frames = if full {
            self.frames()
        } else {
            self.user_frames()
        };
        let base = std::env::current_dir().ok().filter(|_| !full);
        for (index, frame) in frames.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let mark = if self.culprit == Some(index) {
                '>'
            } else {
                ' '
            };
            write!(f, "{mark}{index:>3}: ")?;
            frame.write(f, base.as_deref())?;
        }
        for (_, doubt) in self.doubts(frames).iter().filter(|(applies, _)| *applies) {
            write!(f, "\n      ({doubt})")?;
        }
        Ok(())
    }
}

/// Why a [`StackTrace`] has no frames.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NoStack {
    /// The process may not read its own memory through `/proc`: there is no `/proc`, or `PR_SET_DUMPABLE` is
    /// 0, as in programs with set-user-id or capabilities.
    Hidden,
    /// The process, or the system, cannot open more files.
    NoFiles,
    /// The thread runs, and [no signal may be sent](crate::StackCapture::without_signals).
    SignalsOff,
    /// The thread runs, and the program handles the [signal](crate::StackCapture::signal) itself.
    SignalTaken,
    /// The thread has masked the [signal](crate::StackCapture::signal).
    SignalMasked,
    /// The thread runs, and loopmon is part of a library that the program has loaded, such as a Python
    /// extension or a `dylib`. A handler in a library would not be safe.
    InLibrary,
    /// The thread runs, and has no room for a handler: the program has set a small alternate stack, or the
    /// system refused a larger one.
    NoRoom,
    /// A signal might interrupt a system call, and the stack cannot be taken without one. Either the thread is
    /// blocked in a call that would end with `EINTR`, or it may still be leaving one: it was not seen to use a
    /// CPU since it last slept.
    WouldInterrupt,
    /// The thread did not handle the signal in time: it gets no CPU, or is in a long system call. When it has
    /// handled it, the next report mostly has the stack.
    NoAnswer,
    /// The thread moved on while its stack was taken, or has ended.
    Moved,
    /// A child of the process runs on the stack of the thread, which waits for it in `vfork`.
    Lent,
    /// Too many captured stacks wait to be resolved.
    Busy,
}

impl fmt::Display for NoStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoStack::Hidden => "the process may not read its own memory",
            NoStack::NoFiles => "no more files can be opened",
            NoStack::SignalsOff => "the thread runs, and no signal may be sent",
            NoStack::SignalTaken => "the thread runs, and the program handles the signal itself",
            NoStack::SignalMasked => "the thread has masked the signal",
            NoStack::InLibrary => "the thread runs, and no signal may be handled in a library",
            NoStack::NoRoom => "the thread runs, and has no room for a signal's handler",
            NoStack::WouldInterrupt => "a signal might break a system call",
            NoStack::NoAnswer => "the thread did not answer in time",
            NoStack::Moved => "the thread moved on meanwhile",
            NoStack::Lent => "a child of the process runs on the thread's stack, by `vfork`",
            NoStack::Busy => "too many stacks wait to be resolved",
        })
    }
}

/// What the system reports of a stuck thread, from [`StackTrace::thread_state`].
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ThreadState {
    /// Whether the thread was on a CPU, or waited for one. It may have been in a system call, which the system
    /// does not report then.
    pub running: bool,
    /// The system call that the thread is blocked in.
    pub syscall: Option<Syscall>,
    /// The kernel's name for what the thread waits for.
    pub wait_channel: Option<String>,
    /// How long the thread has run on a CPU in its life.
    pub on_cpu: Option<Duration>,
    /// How long the thread was able to run but waited for a CPU, in its life.
    pub waited_for_cpu: Option<Duration>,
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.syscall {
            Some(syscall) => write!(f, "in {syscall}")?,
            None if self.running => f.write_str("running, perhaps in a system call")?,
            None => f.write_str("in no system call")?,
        }
        if let Some(channel) = &self.wait_channel {
            write!(f, ", waits in {channel}")?;
        }
        if let Some(on_cpu) = self.on_cpu {
            write!(f, ", {:.3} s on a CPU", on_cpu.as_secs_f64())?;
        }
        if let Some(waited) = self.waited_for_cpu {
            write!(f, ", {:.3} s waiting for one", waited.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl StackTrace {
    /// Returns a trace of these functions with their files, all of them the user's part.
    pub(crate) fn of(calls: &[(&str, Option<&str>)], culprit: Option<usize>) -> StackTrace {
        let frames = calls
            .iter()
            .map(|(function, file)| Frame::of(function, *file));
        StackTrace {
            frames: frames.collect(),
            users: calls.len(),
            culprit,
            ..StackTrace::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_culprit() {
        let calls = [
            ("read", None),
            ("app::load", Some("/src/app.rs")),
            ("app::serve", Some("/src/app.rs")),
        ];
        let mut trace = StackTrace::of(&calls, Some(1));
        let expected = "   0: read (app+0x10)\n>  1: app::load\n             at /src/app.rs:1\n   \
                        2: app::serve\n             at /src/app.rs:1";
        assert_eq!(trace.to_string(), expected);
        assert_eq!(format!("{trace:#}"), expected);
        assert_eq!(trace.culprit(), Some(&trace.frames()[1]));
        // As it may be read from JSON.
        trace.culprit = Some(3);
        assert_eq!(trace.culprit(), None);
        trace.culprit = None;
        assert_eq!(trace.culprit(), None);
        assert!(!trace.to_string().contains('>'));
    }

    #[test]
    fn prints_each_doubt() {
        let trace = StackTrace::of(&[("app::work", None)], None);
        assert_eq!(trace.to_string(), "   0: app::work (app+0x10)");
        let doubtful = |change: fn(&mut StackTrace)| {
            let mut trace = trace.clone();
            change(&mut trace);
            let text = trace.to_string();
            text.lines().nth(1).unwrap().trim().to_owned()
        };
        for (text, doubt) in [
            (
                doubtful(|trace| trace.unwinding = true),
                "(in the middle of a panic: outer calls may be wrong)",
            ),
            (
                doubtful(|trace| trace.guessed_frame_pointer = true),
                "(the frame pointer is guessed)",
            ),
            (
                doubtful(|trace| trace.beyond_budget = true),
                "(too much debug information: names come from the symbol table)",
            ),
            (
                doubtful(|trace| trace.without_debug_information = true),
                "(no debug information: set `debug = \"limited\"` in the profile)",
            ),
        ] {
            assert_eq!(text, doubt);
        }
    }

    #[test]
    fn claims_no_more_than_is_known_of_a_running_thread() {
        let mut state = ThreadState::default();
        assert_eq!(state.to_string(), "in no system call");
        state.running = true;
        assert_eq!(state.to_string(), "running, perhaps in a system call");
        state.syscall = Some(Syscall::new(u32::MAX));
        assert_eq!(state.to_string(), "in system call 4294967295");
    }
}
