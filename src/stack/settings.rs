//! The user's settings for taking stacks. What they do is in `linux/capture.rs`.

use std::sync::Arc;

use crate::error::{Error, Kind};

/// Settings for taking the stacks of stalled workers, for
/// [`Builder::stack_capture`](crate::Builder::stack_capture). They need the `stack` feature.
///
/// Blocked threads are inspected through `/proc`, and not touched. Running threads get a signal, whose
/// handler copies part of the stack. A thread that is blocked in a call that a signal would interrupt gets
/// none; the [guide](crate::docs::stacks) explains how that is ensured.
///
/// ```
/// use loopmon::StackCapture;
///
/// // Inspect blocked threads only. Running threads then have no stack.
/// let capture = StackCapture::new().without_signals();
/// // Use a signal that nothing else uses, here SIGUSR2.
/// let capture = StackCapture::new().signal(12);
/// // Crates that you maintain, wherever their sources are.
/// let capture = StackCapture::new().own(["shop_", "billing::"]);
/// ```
///
/// A clone shares the [prefixes](Self::own), so it costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "settings do nothing until they are given to `Builder::stack_capture`"]
pub struct StackCapture {
    pub(crate) taken: bool,
    /// `None` if no signal may be sent.
    pub(crate) signal: Option<i32>,
    pub(crate) shared: bool,
    pub(crate) bytes: usize,
    pub(crate) own: OwnCode,
}

/// The beginnings of the paths that are the user's own code. `None` if there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnCode(pub(super) Option<Arc<[Box<str>]>>);

impl StackCapture {
    /// The signal that is sent by default: SIGURG, which is ignored where it is not handled, and which
    /// debuggers pass through.
    pub const DEFAULT_SIGNAL: i32 = 23;

    /// How much of a stack is copied by default, in bytes: 64 KiB, which is some 160 calls. A Tokio worker
    /// mostly uses less than 16 KiB.
    pub const DEFAULT_STACK_BYTES: usize = 64 * 1024;

    /// The most that can be copied of a stack, in bytes: 1 MiB.
    pub const MAX_STACK_BYTES: usize = 1024 * 1024;

    /// Takes the stacks of blocked threads, and by signal those of running threads.
    pub const fn new() -> StackCapture {
        StackCapture {
            taken: true,
            signal: Some(StackCapture::DEFAULT_SIGNAL),
            shared: false,
            bytes: StackCapture::DEFAULT_STACK_BYTES,
            own: OwnCode(None),
        }
    }

    /// Takes no stacks, and sends no signals.
    pub const fn off() -> StackCapture {
        let mut off = StackCapture::new();
        off.taken = false;
        off.signal = None;
        off
    }

    /// Sends no signals: only the stacks of blocked threads are taken, and only on x86-64.
    pub const fn without_signals(mut self) -> StackCapture {
        self.signal = None;
        self
    }

    /// Sets the number of the signal that is sent. The default is [`DEFAULT_SIGNAL`](Self::DEFAULT_SIGNAL).
    ///
    /// A program that handles SIGURG itself, such as one with Go code in it, sets another: a real-time signal
    /// from 35 to 64, SIGUSR1 (10) or SIGUSR2 (12). Other numbers are an error when the monitor is built. Once
    /// loopmon's handler is installed, the signal's default action no longer applies: for all of these but
    /// SIGURG, that action ends the program. If the program handles the signal, none is sent, unless it is
    /// [shared](Self::share_signal).
    pub const fn signal(mut self, number: i32) -> StackCapture {
        self.signal = Some(number);
        self
    }

    /// Uses the signal even if the program handles it. Loopmon's handler then calls the program's handler for
    /// each signal that is not loopmon's, and for each of loopmon's that is delivered too late.
    ///
    /// The program must install its handler before loopmon does, which is when a running worker is first
    /// suspected of a stall: if the program installs or removes a handler later, loopmon sends no more
    /// signals. The handler must have `SA_RESTART`, and neither `SA_RESETHAND` nor `SA_NODEFER`; otherwise it
    /// stays in place, and no signal is sent.
    pub const fn share_signal(mut self) -> StackCapture {
        self.shared = true;
        self
    }

    /// Sets how much of a stack is copied, in bytes. The default is
    /// [`DEFAULT_STACK_BYTES`](Self::DEFAULT_STACK_BYTES); more than
    /// [`MAX_STACK_BYTES`](Self::MAX_STACK_BYTES) counts as that.
    ///
    /// The innermost part of the stack is copied. A trace that lacks outer calls
    /// [says so](crate::StackTrace::is_truncated).
    pub const fn stack_bytes(mut self, bytes: usize) -> StackCapture {
        self.bytes = if bytes < StackCapture::MAX_STACK_BYTES {
            bytes
        } else {
            StackCapture::MAX_STACK_BYTES
        };
        self
    }

    /// Counts functions as your own code if their paths begin with one of these, for
    /// [`StackTrace::culprit`](crate::StackTrace::culprit).
    ///
    /// It is for crates of yours that are vendored, or come from a registry or from outside of the workspace;
    /// and for programs without debug information, of which loopmon knows only the crate that the program is
    /// named after. The prefixes overrule [everything else](crate::docs::stacks#the-culprit) that is known of
    /// a function.
    ///
    /// `shop` covers the crates `shop` and `shop_orders`, but also `shopify`; `shop::` covers one crate, and
    /// `shop::orders::` one module. Of `<T as Trait>::function`, it is the path of `T` or of `Trait`. A hyphen
    /// counts as an underscore, as Cargo has it. An empty prefix is ignored. Further calls add prefixes.
    pub fn own(mut self, prefixes: impl IntoIterator<Item = impl AsRef<str>>) -> StackCapture {
        let new = prefixes.into_iter().map(|prefix| {
            let path = prefix.as_ref().replace('-', "_");
            path.into_boxed_str()
        });
        let known = self.own.0.iter().flat_map(|known| known.iter().cloned());
        let all = known.chain(new.filter(|prefix| !prefix.is_empty()));
        let all: Arc<[_]> = all.collect();
        self.own = OwnCode((!all.is_empty()).then_some(all));
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
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

/// Whether a program may use the signal as it likes: SIGUSR1, SIGUSR2, SIGURG, and the real-time signals that
/// the C library does not use itself. Handling another would disable a default action that is needed. The
/// numbers are Linux's, which are the same on all supported processors.
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
            // Signals that end, stop or continue a program, and SIGCHLD.
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
    fn prefixes_of_own_code_add_up() {
        let own = |capture: &StackCapture| {
            let prefixes = capture.own.0.iter().flat_map(|it| it.iter());
            prefixes.map(|it| it.to_string()).collect::<Vec<_>>()
        };
        let capture = StackCapture::new()
            .own(["my-shop", ""])
            .own(vec!["billing::".to_owned()]);
        assert_eq!(own(&capture), ["my_shop", "billing::"]);
        // Nothing is own code by being unnamed.
        assert_eq!(StackCapture::new().own([""]), StackCapture::new());
        let shared = capture.clone();
        let addresses = [capture, shared].map(|it| Arc::as_ptr(&it.own.0.unwrap()));
        assert!(std::ptr::addr_eq(addresses[0], addresses[1]));
    }

    #[test]
    fn the_copied_stack_is_bounded() {
        assert_eq!(StackCapture::new().stack_bytes(usize::MAX).bytes, 1 << 20);
        assert_eq!(StackCapture::new().stack_bytes(1).bytes, 1);
    }
}
