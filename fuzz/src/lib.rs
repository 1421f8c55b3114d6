//! What the targets for stacks share: how an input is cut into parts, and the process that the program in it
//! is loaded into.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use loopmon::StackTrace;
use loopmon::fuzzing::Program;

/// Numbers from the beginning of some bytes, as long as there are any.
pub struct Numbers<'a>(pub &'a [u8]);

impl<'a> Numbers<'a> {
    pub fn bytes(&mut self, size: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(first)
    }

    pub fn byte(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().unwrap()))
    }

    pub fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().unwrap()))
    }
}

/// Cuts an input into a program and what follows it. The last two bytes say how much that is.
pub fn parts(input: &[u8]) -> Option<(&[u8], Numbers<'_>)> {
    let (rest, size) = input.split_last_chunk()?;
    let size = usize::from(u16::from_le_bytes(*size)).min(rest.len());
    let (program, further) = rest.split_at(rest.len() - size);
    Some((program, Numbers(further)))
}

/// A folder of its own, which is the current one, for the files of a program; and the memory of a process.
pub struct Process {
    folder: PathBuf,
    memory: File,
}

impl Process {
    /// # Panics
    ///
    /// If the folder cannot be made.
    pub fn new() -> Process {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() {
            memory.to_owned()
        } else {
            env::temp_dir()
        };
        let folder = root.join(format!("loopmon-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        env::set_current_dir(&folder).unwrap();
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        Process {
            memory: options.open(folder.join("memory")).unwrap(),
            folder,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the program to its file and into the memory. The memory ends with it.
    ///
    /// # Panics
    ///
    /// If the system refuses it.
    pub fn load(&self, program: &[u8]) -> Program {
        let file = self.file("program");
        fs::write(&file, program).unwrap();
        self.memory.set_len(0).unwrap();
        self.memory.write_all_at(program, Program::place()).unwrap();
        let memory = self.memory.try_clone().unwrap();
        Program::new(memory, program.len() as u64, &file)
    }
}

impl Default for Process {
    fn default() -> Process {
        Process::new()
    }
}

/// What holds for every trace.
///
/// # Panics
///
/// If it does not.
pub fn check(trace: &StackTrace) {
    assert!(!trace.frames().is_empty());
    assert!(trace.frames().starts_with(trace.user_frames()));
    if let Some(culprit) = trace.culprit() {
        assert!(trace.user_frames().contains(culprit));
    }
    let mut nowhere = std::io::sink();
    write!(nowhere, "{trace}{trace:#}").unwrap();
}
