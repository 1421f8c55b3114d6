//! How the stack of a stalled worker is taken.

use crate::error::{Error, Kind};

/// How the stack of a stalled worker is taken: for
/// [`Builder::stack_capture`](crate::Builder::stack_capture), with the `stack` feature.
///
/// A thread that is blocked is looked at from the outside: nothing of it is touched. A thread that
/// runs is sent a signal, whose handler copies a piece of its stack. A thread that is blocked in a
/// call which a signal would break is not sent one; see the [guide](crate::docs::stacks) for what is
/// done to keep it so.
///
/// ```
/// use loopmon::StackCapture;
///
/// // Looks only: a thread that runs has no stack then.
/// let traces = StackCapture::new().without_signals();
/// // A signal that nobody else uses, here SIGUSR2.
/// let traces = StackCapture::new().signal(12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "settings do nothing until they are given to `Builder::stack_capture`"]
pub struct StackCapture {
    pub(crate) taken: bool,
    /// `None`: none may be sent.
    pub(crate) signal: Option<i32>,
    pub(crate) shared: bool,
    pub(crate) bytes: usize,
}

impl StackCapture {
    /// The signal that is sent: SIGURG, which is ignored where nobody handles it, and which
    /// debuggers let through.
    pub const DEFAULT_SIGNAL: i32 = 23;

    /// How much of a stack is copied, in bytes: 64 KiB, which is some 160 calls. A Tokio worker
    /// mostly uses less than 16 KiB.
    pub const DEFAULT_STACK_BYTES: usize = 64 * 1024;

    /// The most of a stack that is copied, in bytes: 1 MiB.
    pub const MAX_STACK_BYTES: usize = 1024 * 1024;

    /// Stacks are taken, by looking and by signal.
    pub const fn new() -> StackCapture {
        StackCapture {
            taken: true,
            signal: Some(StackCapture::DEFAULT_SIGNAL),
            shared: false,
            bytes: StackCapture::DEFAULT_STACK_BYTES,
        }
    }

    /// No stack is taken, and no signal sent.
    pub const fn off() -> StackCapture {
        StackCapture {
            taken: false,
            signal: None,
            ..StackCapture::new()
        }
    }

    /// Never sends a signal: only the stacks of blocked threads are taken, and those on x86-64
    /// alone.
    pub const fn without_signals(mut self) -> StackCapture {
        self.signal = None;
        self
    }

    /// The number of the signal that is sent: [`DEFAULT_SIGNAL`](Self::DEFAULT_SIGNAL) if not set.
    ///
    /// A program that handles SIGURG itself, as one with Go code in it does, gives another one here:
    /// a real-time signal from 35 to 64, or SIGUSR1 (10) or SIGUSR2 (12). Once it is taken into use,
    /// it does what it does by default no longer, which is to end the program for all but SIGURG. If
    /// the program handles it, none is sent, unless it is [shared](Self::share_signal).
    pub const fn signal(mut self, number: i32) -> StackCapture {
        self.signal = Some(number);
        self
    }

    /// Takes the signal even if the program handles it. Its own handler is then called for each
    /// signal that is not loopmon's, and for those of loopmon's that come through too late.
    ///
    /// The handler has to be there before loopmon's, which comes when a worker is first suspected of
    /// a stall while it runs: if the program sets or removes one later, loopmon sends none any more.
    /// And it has to be installed with `SA_RESTART`, and without `SA_RESETHAND` and `SA_NODEFER`;
    /// otherwise it is left alone, and none is sent.
    pub const fn share_signal(mut self) -> StackCapture {
        self.shared = true;
        self
    }

    /// How much of a stack is copied, in bytes: [`DEFAULT_STACK_BYTES`](Self::DEFAULT_STACK_BYTES)
    /// if not set, [`MAX_STACK_BYTES`](Self::MAX_STACK_BYTES) at most.
    ///
    /// The innermost part is what is copied. A trace that ends early says so.
    pub const fn stack_bytes(mut self, bytes: usize) -> StackCapture {
        self.bytes = if bytes < StackCapture::MAX_STACK_BYTES {
            bytes
        } else {
            StackCapture::MAX_STACK_BYTES
        };
        self
    }

    pub(crate) fn check(self) -> Result<(), Error> {
        match self.signal {
            Some(number) if !is_usable(number) => Err(Kind::UnusableSignal.into()),
            _ => Ok(()),
        }
    }
}

impl Default for StackCapture {
    fn default() -> StackCapture {
        StackCapture::new()
    }
}

/// Whether the signal is for programs to use as they like: SIGUSR1, SIGUSR2, SIGURG and the real-time
/// signals that the C library leaves to them. What others do by default is missed if they are handled.
/// By Linux's numbers, which do not differ between the processors of which stacks are taken.
const fn is_usable(signal: i32) -> bool {
    matches!(signal, 10 | 12 | 23 | 35..=64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_must_be_free_for_programs() {
        for (signal, usable) in [
            (StackCapture::DEFAULT_SIGNAL, true),
            (10, true),
            (12, true),
            (35, true),
            (64, true),
            // What ends a program, stops it or has it go on, and SIGCHLD.
            (1, false),
            (2, false),
            (13, false),
            (14, false),
            (15, false),
            (17, false),
            (18, false),
            (20, false),
            (0, false),
            (-1, false),
            (9, false),
            (11, false),
            (34, false),
            (65, false),
        ] {
            let checked = StackCapture::new().signal(signal).check();
            assert_eq!(checked.is_ok(), usable, "{signal}");
        }
        assert!(StackCapture::new().without_signals().check().is_ok());
        assert!(StackCapture::off().check().is_ok());
    }

    #[test]
    fn the_copied_stack_is_bounded() {
        assert_eq!(StackCapture::new().stack_bytes(usize::MAX).bytes, 1 << 20);
        assert_eq!(StackCapture::new().stack_bytes(1).bytes, 1);
    }
}
