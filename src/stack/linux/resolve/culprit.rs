//! Finds the culprit on a stack: the innermost call of the user's own code. Which calls are the user's part
//! is in `user_frames.rs`.
//!
//! The source file of a call decides (`culprit/source.rs`). Where there is none, the crate that its function
//! is in decides (`culprit/crates.rs`). Where neither does, no call is named: a wrong culprit costs more than
//! none.

mod crates;
mod owner;
mod source;

use super::debug::Compilation;
use crate::stack::frame::Frame;
use crate::stack::paths::paths;
use crate::stack::settings::OwnCode;
use owner::Owner;
use source::Sources;

/// What is known of the program that a stack is from.
pub(super) struct Program<'a> {
    /// The module that loopmon is linked into.
    module: &'a str,
    /// The crate that the module is named after.
    name: String,
    sources: Sources<'a>,
    own: &'a OwnCode,
}

/// What may be wrong with a stack.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Whether debug information was left out, so that a call of the user's may have no file.
    pub(super) are_lines_missing: bool,
    pub(super) is_scanned: bool,
    pub(super) is_unwinding: bool,
}

impl Program<'_> {
    /// Of `compilations`, at least those of the calls on the stack are needed.
    pub(super) fn new<'a>(
        module: &'a str,
        compilations: &'a [Compilation],
        own: &'a OwnCode,
    ) -> Program<'a> {
        let name = crates::named_after(module);
        Program {
            module,
            sources: Sources::new(compilations, name.clone()),
            name,
            own,
        }
    }

    /// Returns the index of the culprit. `frames` are the user's part of a stack.
    pub(super) fn culprit(&self, frames: &[Frame], doubts: &Doubts) -> Option<usize> {
        let owners: Vec<_> = frames.iter().map(|frame| self.owner(frame)).collect();
        let is_users_file =
            |(frame, owner): (&Frame, &Owner)| frame.file.is_some() && *owner == Owner::User;
        // Where the user's code has debug information, a crate without any was built without it. Cargo's
        // `profile.dev.package."*"`, which some set to that, covers dependencies only.
        let users_have_files = frames.iter().zip(&owners).any(is_users_file);
        let is_passed_over = |owner: &Owner| match owner {
            Owner::Others => true,
            Owner::Unknown => users_have_files && !doubts.are_lines_missing,
            Owner::User => false,
        };
        let index = owners.iter().position(|owner| !is_passed_over(owner))?;
        // What was searched for is right past the C code of musl, but perhaps not past generated code.
        let is_generated = |frame: &Frame| frame.module.is_none();
        let is_doubtful =
            doubts.is_unwinding || doubts.is_scanned && frames[..index].iter().any(is_generated);
        (owners[index] == Owner::User && !is_doubtful).then_some(index)
    }

    fn owner(&self, frame: &Frame) -> Owner {
        let paths = frame.function.as_deref().map_or([None; 2], paths);
        if frame.function.as_deref().is_some_and(crates::is_derived) {
            return Owner::Others;
        }
        if paths.iter().flatten().any(|path| self.is_own(path)) {
            return Owner::User;
        }
        let file = frame.file.as_deref();
        match file.map(|file| self.sources.owner(file)) {
            Some(Owner::User) if crates::is_runtime(&paths) => Owner::Others,
            Some(owner @ (Owner::User | Owner::Others)) => owner,
            Some(Owner::Unknown) | None => self.owner_without_file(frame, &paths),
        }
    }

    fn owner_without_file(&self, frame: &Frame, paths: &[Option<&str>; 2]) -> Owner {
        let is_in_program = frame.module.as_deref() == Some(self.module);
        match &frame.function {
            Some(function) => {
                let program = is_in_program.then_some(&*self.name);
                crates::owner(function, paths, program)
            }
            None if is_in_program => Owner::Unknown,
            None => Owner::Others,
        }
    }

    /// Whether the user has said so.
    fn is_own(&self, path: &str) -> bool {
        let mut prefixes = self.own.0.iter().flat_map(|prefixes| prefixes.iter());
        prefixes.any(|prefix| path.starts_with(&**prefix))
    }
}

#[cfg(test)]
mod tests;
