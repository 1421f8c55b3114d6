//! A program of which every byte may be anything. See `crate::fuzzing`.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::memory::{self, Mapping, Memory};
use super::unwind::Unwinder;
use super::{Capture, Image, Resolver, StackTrace, functions, modules};
use crate::stack::linux::image::BacklogShare;
use crate::stack::settings::OwnCode;
use crate::stack::sys::{Others, Registers};
use crate::stack::trace::ThreadState;

/// Returns the range of addresses in a line of `maps`, and what is mapped there.
pub fn mapping(line: &str) -> Option<(Range<u64>, String)> {
    memory::mapping(line).map(|mapping| (mapping.range, mapping.name))
}

/// A program in the memory of a process, and the file that it was loaded from.
#[allow(missing_debug_implementations, reason = "a resolver has none")]
pub struct Program(Resolver);

impl Program {
    /// Returns where the program must begin, so that it counts as the one that loopmon is linked into.
    pub fn place() -> u64 {
        const PAGE: u64 = 4096;
        functions as fn(_) -> _ as usize as u64 & !(PAGE - 1)
    }

    /// `memory` has `size` bytes of the program at its [place](Self::place). `file` is an absolute path.
    pub fn new(memory: File, size: u64, file: &Path) -> Program {
        let mapping = Mapping {
            range: Program::place()..Program::place() + size,
            executable: true,
            offset: 0,
            inode: 0,
            name: file.to_string_lossy().into_owned(),
        };
        let memory = Rc::new(Memory(memory));
        let mut resolver = Resolver::default();
        let modules = modules::load(&memory, &[mapping], Vec::new(), &resolver.tables);
        resolver.unwinder = Some(Unwinder::new(memory, modules));
        // So that it does not load those of this process.
        resolver.code = modules::code(&memory::mappings()).cloned().collect();
        Program(resolver)
    }

    /// Resolves a stack. Returns `None` if the tables have exceeded their budget, as they would be read anew, from
    /// this process.
    pub fn resolve(
        &mut self,
        [pc, sp, lr]: [u64; 3],
        fp: Option<u64>,
        stack: &[u8],
    ) -> Option<StackTrace> {
        if self.0.tables.is_exceeded() {
            return None;
        }
        let others = fp.map(|fp| Others { fp, lr });
        let registers = Registers { pc, sp, others };
        let backlog = BacklogShare::reserve()?;
        Some(self.0.resolve(Capture {
            stack: Ok(Image::new(registers, stack.to_vec(), stack.len(), backlog)),
            thread_state: ThreadState::default(),
            capture_time: Duration::ZERO,
            own: OwnCode(None),
        }))
    }
}
