//! The programs and libraries that are loaded, and their tables for unwinding.
//!
//! Read from memory, not from files: what is on the disk may have been replaced, and the kernel's own
//! vDSO is in no file.

use std::fs::File;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::elf::{self, Image};
use super::memory::{self, Mapping};

/// What is larger is no table.
const LARGEST_TABLE: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    /// What has to be added to the addresses in its tables.
    pub(super) bias: u64,
    pub(super) range: Range<u64>,
    pub(super) code: Vec<Range<u64>>,
    pub(super) index: Option<Section>,
    pub(super) frames: Option<Section>,
}

/// A piece of a module, by its own addresses.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) range: Range<u64>,
    pub(super) bytes: Bytes,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytes(Arc<Vec<u8>>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// All that can be read.
pub(super) fn load(memory: &File) -> Vec<Module> {
    let mappings = memory::mappings();
    let beginnings = mappings.iter().filter(|mapping| {
        let named = mapping.name.starts_with('/') || mapping.name == "[vdso]";
        mapping.offset == 0 && named
    });
    let modules = beginnings.filter_map(|beginning| module(memory, beginning));
    // A file may also be mapped to be read, as symbolising does.
    let is_code = |code: &Range<u64>| {
        let mut executable = mappings.iter().filter(|mapping| mapping.executable);
        executable.any(|mapping| mapping.range.contains(&code.start))
    };
    modules
        .filter(|module| module.code.iter().any(is_code))
        .collect()
}

fn module(memory: &File, beginning: &Mapping) -> Option<Module> {
    let start = beginning.range.start;
    let header = read(memory, start, elf::HEADER_SIZE)?;
    let header = elf::Header::parse(&header)?;
    let table = read(
        memory,
        start.checked_add(header.segments_at)?,
        header.segments_size(),
    )?;
    let Image {
        lowest,
        highest,
        code,
        index,
        loaded,
    } = header.image(&table)?;
    let bias = start.wrapping_sub(lowest);
    let here = |own: &Range<u64>| own.start.wrapping_add(bias)..own.end.wrapping_add(bias);
    let section = |own: Range<u64>| {
        let size = own.end.checked_sub(own.start)?;
        let bytes = read(memory, here(&own).start, size)?;
        Some(Section {
            range: own,
            bytes: Bytes(Arc::new(bytes)),
        })
    };
    let index = index.and_then(section);
    let frames = index.as_ref().and_then(|index| {
        let frames = elf::frames_at(index.range.start, &index.bytes)?;
        let within = loaded.iter().find(|segment| segment.contains(&frames))?;
        section(frames..within.end)
    });
    Some(Module {
        name: beginning.name.clone(),
        bias,
        range: here(&(lowest..highest)),
        code: code.iter().map(here).collect(),
        index,
        frames,
    })
}

fn read(memory: &File, address: u64, size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size)
        .ok()
        .filter(|_| size <= LARGEST_TABLE)?;
    let mut bytes = vec![0; size];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_program_and_its_libraries() {
        let memory = memory::open().unwrap();
        let modules = load(&memory);
        let here = finds_this_program_and_its_libraries as fn() as usize as u64;
        let own = modules
            .iter()
            .find(|module| module.range.contains(&here))
            .unwrap();
        assert!(own.code.iter().any(|code| code.contains(&here)));
        let program = std::env::current_exe().unwrap();
        assert_eq!(own.name, program.to_str().unwrap());
        for module in [
            own,
            modules
                .iter()
                .find(|module| module.name == "[vdso]")
                .unwrap(),
        ] {
            assert!(
                module.index.is_some() && module.frames.is_some(),
                "{}",
                module.name
            );
        }
    }
}
