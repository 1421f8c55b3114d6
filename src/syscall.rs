//! A system call of Linux, and its name. What it means for a stall is documented in `stall/cause.rs`.

mod names;

use std::fmt;

/// A system call of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Syscall {
    number: u32,
}

impl Syscall {
    /// The system call of this number on the architecture that the program runs on.
    #[must_use]
    pub const fn new(number: u32) -> Syscall {
        Syscall { number }
    }

    /// Returns its number, which differs between architectures.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Returns its name, or `None` if loopmon does not know it. Loopmon knows the calls that can wait, on x86-64,
    /// AArch64 and 64-bit RISC-V.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        names::name(self.number)
    }
}

/// Prints the name, or `system call` and the number.
impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "system call {}", self.number),
        }
    }
}
