//! One call on a stack.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// One call on the stack of a stuck thread, from [`Trace::frames`](crate::Trace::frames).
///
/// What is known of it depends on how the program was built; see the [guide](crate::docs::stacks).
/// `Display` prints one or two lines as a Rust backtrace does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Frame {
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) module: Option<String>,
    pub(super) offset: u64,
    pub(super) inlined: bool,
}

impl Frame {
    /// The function, demangled. `None` in a stripped program.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// The source file, as the compiler has written it down. `None` without debug information.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line in the source file. `None` without debug information.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The program or library that the code belongs to. `None` for code made at run time.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// Where in the module the call is: what `addr2line -e <module>` asks for. The address in memory
    /// if there is no module.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the compiler has merged this call into its caller, which is the next frame.
    #[must_use]
    pub fn is_inlined(&self) -> bool {
        self.inlined
    }

    /// Without the path of the directory that the program runs in, if `near` is that.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, near: Option<&Path>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => {
                let module = self.module.as_deref().unwrap_or("unknown");
                let name = module.rsplit('/').next().unwrap_or(module);
                write!(f, "{name}+{:#x}", self.offset)?;
            }
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let shown = match near.and_then(|near| Path::new(file).strip_prefix(near).ok()) {
            Some(inside) => Cow::Owned(format!("./{}", inside.display())),
            None => Cow::Borrowed(file.as_str()),
        };
        write!(f, "\n             at {shown}")?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}
