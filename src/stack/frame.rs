//! One call on a stack, and how it is printed. It is filled in when the stack is resolved.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// One call on the stack of a stuck thread, from [`StackTrace::frames`](crate::StackTrace::frames).
///
/// Which parts are known depends on how the program was built; see the [guide](crate::docs::stacks).
/// `Display` prints one or two lines, as a Rust backtrace has them. If the line is not known, it prints the
/// module and the [offset](Frame::offset) in it.
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
    /// The demangled name of the function. `None` in a stripped program.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// The source file, with the path that the compiler recorded. `None` without debug information.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line in the source file. `None` without debug information.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The program or library that the code belongs to. `None` for code generated at run time.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// The address of the call in the module, as `addr2line -e <module>` takes it. The address in memory if
    /// there is no module.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the compiler has inlined this call into its caller, which is the next frame.
    #[must_use]
    pub fn is_inlined(&self) -> bool {
        self.inlined
    }

    /// Returns the call as part of a line: `PATH at FILE:LINE`, or what is known of that. A closure or an async
    /// block has the path of the function that it is in. Generic arguments of the function are left out.
    pub(crate) fn brief(&self) -> Brief<'_> {
        Brief {
            function: self.function().map(plain_path),
            file: self.file(),
            line: self.line,
        }
    }

    /// Prints paths inside `base` relative to it.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, base: Option<&Path>) -> fmt::Result {
        let module = self.module.as_deref().unwrap_or("unknown");
        let module = module.rsplit('/').next().unwrap_or(module);
        match &self.function {
            Some(function) if self.line.is_some() => f.write_str(function)?,
            Some(function) => write!(f, "{function} ({module}+{:#x})", self.offset)?,
            None => write!(f, "{module}+{:#x}", self.offset)?,
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let path = match inside(file, base) {
            Some(inside) => Cow::Owned(format!("./{}", inside.display())),
            None => Cow::Borrowed(file.as_str()),
        };
        write!(f, "\n             at {path}")?;
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

/// Returns the path relative to `base`, if it is in there.
fn inside<'a>(file: &'a str, base: Option<&Path>) -> Option<&'a Path> {
    Path::new(file).strip_prefix(base?).ok()
}

/// A call as part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Brief<'a> {
    /// The path of the function, without generic arguments and closures.
    pub(crate) function: Option<&'a str>,
    pub(crate) file: Option<&'a str>,
    pub(crate) line: Option<u32>,
}

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(file) = self.file else {
            return f.write_str(self.function.unwrap_or("unknown"));
        };
        if let Some(function) = self.function {
            write!(f, "{function} at ")?;
        }
        let here = std::env::current_dir().ok();
        let path = inside(file, here.as_deref()).unwrap_or(Path::new(file));
        write!(f, "{}", path.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// `app::load::<T>::{closure#0}::{closure#1}` becomes `app::load`.
pub(crate) fn plain_path(function: &str) -> &str {
    let mut path = function;
    loop {
        let end = match path.chars().last() {
            Some('}') => path.rfind("::{"),
            Some('>') => arguments(path),
            _ => None,
        };
        match end {
            Some(end) => path = &path[..end],
            None => return path,
        }
    }
}

/// Returns where the generic arguments begin that a path ends with. They follow `::` or, with line tables only,
/// the name.
fn arguments(path: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in path.char_indices().rev() {
        match character {
            // The arrow of a function's type.
            '>' if path[..at].ends_with('-') => {}
            '>' => depth += 1,
            '<' if depth == 1 => {
                let function = &path[..at];
                let end = function.strip_suffix("::").unwrap_or(function).len();
                return (end > 0).then_some(end);
            }
            '<' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
impl Frame {
    /// Returns a call of a program `app`, in the first line of the file.
    pub(super) fn of(function: &str, file: Option<&str>) -> Frame {
        Frame {
            function: Some(function.to_owned()),
            file: file.map(str::to_owned),
            line: file.map(|_| 1),
            module: Some("/bin/app".to_owned()),
            offset: 0x10,
            inlined: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_into_a_line() {
        let here = std::env::current_dir().unwrap();
        let here = format!("{}/src/orders.rs", here.display());
        for (function, file, brief) in [
            (
                "app::save",
                Some("/src/orders.rs"),
                "app::save at /src/orders.rs:1",
            ),
            ("app::save", Some(&here), "app::save at src/orders.rs:1"),
            ("app::save", None, "app::save"),
            ("app::save::{{closure}}::{{closure}}", None, "app::save"),
            ("app::save::{async_fn#0}", None, "app::save"),
            (
                "<app::S as app::T>::save::{closure#1}",
                None,
                "<app::S as app::T>::save",
            ),
            ("{async_fn#0}", None, "{async_fn#0}"),
            (
                "app::load::<fn(u8) -> Vec<u8>>::{closure#0}",
                None,
                "app::load",
            ),
            (
                "<app::S<u8> as app::T>::f::<u8>",
                None,
                "<app::S<u8> as app::T>::f",
            ),
            ("load<Vec<u8>>", None, "load"),
            ("<app::S>", None, "<app::S>"),
            (">", None, ">"),
        ] {
            assert_eq!(Frame::of(function, file).brief().to_string(), brief);
        }
        let mut frame = Frame::of("", Some("/src/orders.rs"));
        frame.function = None;
        frame.line = None;
        assert_eq!(frame.brief().to_string(), "/src/orders.rs");
    }

    #[test]
    fn a_frame_without_a_line_has_an_offset() {
        let mut frame = Frame::of("app::work", Some("/src/app.rs"));
        frame.line = Some(7);
        frame.offset = 0x1c0d5;
        let located = "app::work\n             at /src/app.rs:7";
        assert_eq!(frame.to_string(), located);
        frame.file = None;
        frame.line = None;
        assert_eq!(frame.to_string(), "app::work (app+0x1c0d5)");
        frame.function = None;
        assert_eq!(frame.to_string(), "app+0x1c0d5");
        frame.module = None;
        assert_eq!(frame.to_string(), "unknown+0x1c0d5");
    }
}
