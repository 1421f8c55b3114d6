//! Prints culprits as folded stacks, which tools for flame graphs read.

use std::fmt::Write;

use super::blame::Blame;
use super::culprit::Culprit;
use super::snapshot::Culprits;
use crate::stack::Frame;

impl Culprits {
    /// Returns a line for each culprit as tools for flame graphs read it, such as `inferno-flamegraph`: the calls
    /// of its stack, the outermost first and separated by `;`, and its total in microseconds.
    ///
    /// All of a culprit's time is put on the one stack that is kept of it. A culprit without a stack is one
    /// frame, and so are the [`other`](Self::other) ones.
    ///
    /// ```
    /// # let monitor = loopmon::Monitor::builder().build()?;
    /// let folded = monitor.culprits().folded();
    /// // shop::serve;shop::orders::save;std::fs::File::sync_all;fsync 1204000
    /// std::fs::write(std::env::temp_dir().join("stalls.folded"), folded)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn folded(&self) -> String {
        let mut folded = String::new();
        for culprit in self.iter() {
            let micros = culprit.total.as_micros();
            writeln!(folded, "{} {micros}", stack(culprit)).ok();
        }
        if self.other().stalls > 0 {
            writeln!(folded, "other {}", self.other().total.as_micros()).ok();
        }
        folded
    }
}

fn stack(culprit: &Culprit) -> String {
    let trace = culprit.trace.as_ref();
    // Where the cause alone is to blame, the stack is that of one moment.
    let trace = trace.filter(|_| !matches!(culprit.blame, Blame::Cause(_)));
    let frames = trace.map(|trace| trace.user_frames()).unwrap_or_default();
    if frames.is_empty() {
        return plain(&culprit.blame.to_string());
    }
    let names: Vec<_> = frames.iter().rev().map(name).collect();
    names.join(";")
}

fn name(frame: &Frame) -> String {
    match frame.function() {
        Some(function) => plain(function),
        None => {
            let module = frame.module().unwrap_or("unknown");
            let module = module.rsplit('/').next().unwrap_or(module);
            plain(&format!("{module}+{:#x}", frame.offset()))
        }
    }
}

/// `;` ends a frame, and a line break the stack.
fn plain(name: &str) -> String {
    let plain = |character: char| match character {
        ';' => ':',
        control if control.is_control() => '?',
        other => other,
    };
    name.chars().map(plain).collect()
}
