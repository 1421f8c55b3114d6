//! The stack of a stuck thread, as the user sees it.

use std::fmt;
use std::time::Duration;

use super::frame::Frame;
use super::target::Shows;
use crate::syscall::Syscall;

/// The stack of a stuck thread, taken while it was stuck: in
/// [`Stall::trace`](crate::Stall::trace), with the `stack` feature.
///
/// `Display` prints it as Rust prints a backtrace, the innermost call first, cut to the user's own
/// part: what the task has called, without the runtime below it. `{:#}` prints all of it. Where no
/// stack could be taken, it prints why, and what is known of the thread instead.
///
/// With the `serde` feature it can be serialised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StackTrace {
    pub(super) frames: Vec<Frame>,
    /// How many of the frames are the user's part.
    pub(super) users: usize,
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
    /// All calls, the innermost first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The calls of the user's own part, the innermost first: from where the thread is stuck to the
    /// function that the runtime has called. All of them, if the runtime's functions cannot be told
    /// by name, as in a stripped program.
    #[must_use]
    pub fn user_frames(&self) -> &[Frame] {
        self.frames.get(..self.users).unwrap_or(&self.frames)
    }

    /// Whether the outermost calls are missing: the stack is deeper than what was
    /// [copied](crate::StackCapture::stack_bytes), or leads through code that tells nothing of its
    /// stack.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Whether the frame pointer, which a blocked thread does not show, had to be found by trying.
    ///
    /// What it leads to has been checked against the calls in the code; that it is wrong is not
    /// excluded.
    #[must_use]
    pub fn has_guessed_frame_pointer(&self) -> bool {
        self.guessed_frame_pointer
    }

    /// Whether calls may be missing, or be left from before: somewhere on the stack is code that tells
    /// nothing of it, so that the next call was searched for.
    #[must_use]
    pub fn is_scanned(&self) -> bool {
        self.scanned
    }

    /// Whether the thread was in the middle of a panic, or of another exception: with the unwinder,
    /// which is about to set the stack to that of an outer call. What is outside of it may be wrong.
    #[must_use]
    pub fn is_unwinding(&self) -> bool {
        self.unwinding
    }

    /// Whether the program's debug information was too large to be read, or a part of it. What is
    /// missing of names and lines is found by the [offsets](Frame::offset).
    #[must_use]
    pub fn exceeds_budget(&self) -> bool {
        self.beyond_budget
    }

    /// Whether the program comes without debug information, so that no frame of it has a line.
    #[must_use]
    pub fn lacks_debug_information(&self) -> bool {
        self.without_debug_information
    }

    /// Whether the thread is inside of `tokio::task::block_in_place`: it has handed its worker over. Such a
    /// stack is shown where no other thread has come to run the worker, which is then
    /// [unattended](crate::Cause::Unattended): it is the stack of who has left it.
    #[must_use]
    pub fn has_handed_over(&self) -> bool {
        self.handed_over
    }

    /// Why there are no frames. `None` if there are some.
    #[must_use]
    pub fn no_stack(&self) -> Option<NoStack> {
        self.no_stack
    }

    /// What the system says of the thread, with a stack or without.
    #[must_use]
    pub fn thread_state(&self) -> &ThreadState {
        &self.thread_state
    }

    /// What it shows of the worker that the thread runs.
    pub(crate) fn shows(&self) -> Option<Shows> {
        const WORKER: &str = "tokio::runtime::scheduler::multi_thread::worker::";
        if self.handed_over {
            return Some(Shows::HandedOver);
        }
        let mut functions = self.frames.iter().filter_map(Frame::function);
        let is_worker = functions.any(|function| function.contains(WORKER));
        is_worker.then_some(Shows::Polls)
    }

    /// How long it took to take the stack, while the thread was stuck.
    #[must_use]
    pub fn capture_time(&self) -> Duration {
        self.capture_time
    }

    /// How long it took to find out, on a thread of loopmon's own, which calls the stack shows. For
    /// the first in a while it is longer: the program's debug information is read. How long a report
    /// waits for it, says [`Stall::trace`](crate::Stall::trace).
    #[must_use]
    pub fn resolve_time(&self) -> Duration {
        self.resolve_time
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
        let here = std::env::current_dir().ok().filter(|_| !full);
        for (index, frame) in frames.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{index:>4}: ")?;
            frame.write(f, here.as_deref())?;
        }
        let doubts = [
            (
                self.handed_over,
                "the thread has handed its worker over, by `block_in_place`",
            ),
            (
                self.scanned,
                "some code tells nothing of its stack: calls may be missing",
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
        ];
        for (_, doubt) in doubts.iter().filter(|(doubtful, _)| *doubtful) {
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
    /// The process may not read its own memory through `/proc`: there is none, or
    /// `PR_SET_DUMPABLE` is 0, as in programs with set-user-id or capabilities.
    Hidden,
    /// The process, or the system, can open no more files.
    NoFiles,
    /// The thread runs, and [no signal may be sent](crate::StackCapture::without_signals).
    SignalsOff,
    /// The thread runs, and the program handles the [signal](crate::StackCapture::signal) itself.
    SignalTaken,
    /// The thread has masked the [signal](crate::StackCapture::signal).
    SignalMasked,
    /// The thread runs, and loopmon is part of a library that the program has loaded, such as an
    /// extension of Python's or a `dylib`. A handler there would not be safe.
    InLibrary,
    /// The thread runs, and has no room for a handler: its alternate stack is small, and it has set it
    /// itself, or could get no larger one.
    NoRoom,
    /// A signal might break a system call, and here the stack is not to be had without. The thread is
    /// blocked in one that ends with `EINTR` then; or it may be on its way out of one, as it has not
    /// been seen to use a CPU since it last slept.
    WouldInterrupt,
    /// The thread did not come to handle the signal in time: it gets no CPU, or is in a long system
    /// call.
    NoAnswer,
    /// The thread went on meanwhile, or has ended.
    Moved,
    /// A child of the process runs on the stack of the thread, which waits for it in `vfork`.
    Lent,
    /// Too many stacks wait to be read.
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
            NoStack::Moved => "the thread went on meanwhile",
            NoStack::Lent => "a child of the process runs on the thread's stack, by `vfork`",
            NoStack::Busy => "too many stacks wait to be read",
        })
    }
}

/// What the system says of a stuck thread, from [`StackTrace::thread_state`].
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ThreadState {
    /// Whether the thread was on a CPU, or waited for one. It may have been in a system call: which
    /// one, the system does not tell then.
    pub running: bool,
    /// The system call that the thread is blocked in.
    pub syscall: Option<Syscall>,
    /// What the thread waits for in the kernel, by the kernel's own name for it.
    pub wait_channel: Option<String>,
    /// For how long the thread has run on a CPU in its life.
    pub on_cpu: Option<Duration>,
    /// For how long the thread could have run, but waited for a CPU, in its life.
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
mod tests {
    use super::*;

    #[test]
    fn names_what_is_in_doubt() {
        let trace = StackTrace {
            frames: vec![Frame {
                function: Some("app::work".to_owned()),
                file: None,
                line: None,
                module: Some("/bin/app".to_owned()),
                offset: 0x10,
                inlined: false,
            }],
            users: 1,
            ..StackTrace::default()
        };
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
        let mut facts = ThreadState::default();
        assert_eq!(facts.to_string(), "in no system call");
        facts.running = true;
        assert_eq!(facts.to_string(), "running, perhaps in a system call");
        facts.syscall = Some(Syscall::new(u32::MAX));
        assert_eq!(facts.to_string(), "in system call 4294967295");
    }
}
