//! The programs and libraries that are loaded, and their tables for unwinding.
//!
//! Read from memory, not from files: what is on the disk may have been replaced, and the kernel's own
//! vDSO is in no file. Their names alone come from files, and are read when the first is asked for.

use std::fs::File;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::elf::{self, Image};
use super::memory::Mapping;
use super::symbols::Symbols;

/// What is larger is no table.
const LARGEST_TABLE: u64 = 64 << 20;

pub(super) struct Module {
    pub(super) name: String,
    inode: u64,
    /// What has to be added to the addresses in its tables.
    pub(super) bias: u64,
    pub(super) range: Range<u64>,
    pub(super) code: Vec<Range<u64>>,
    pub(super) index: Option<Section>,
    pub(super) frames: Option<Section>,
    pub(super) symbols: Symbols,
}

impl Module {
    /// By the module's own addresses.
    pub(super) fn function_of(&self, own: u64) -> Option<u64> {
        let index = self.index.as_ref()?;
        elf::function_at(index.range.start, &index.bytes, own)
    }
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

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Arc::new(bytes))
    }
}

/// Those of the mappings that are of a program or a library, and hold its code. While they stay as
/// they are, so do the modules.
pub(super) fn code(mappings: &[Mapping]) -> impl Iterator<Item = &Mapping> {
    let code = |mapping: &&Mapping| mapping.executable && is_named(mapping);
    mappings.iter().filter(code)
}

/// All that can be read. What of it is in `known` is taken from there, with the names that have been
/// read.
pub(super) fn load(memory: &File, mappings: &[Mapping], mut known: Vec<Module>) -> Vec<Module> {
    let beginnings = mappings
        .iter()
        .filter(|mapping| mapping.offset == 0 && is_named(mapping));
    // A file may also be mapped to be read, as symbolising does.
    let is_code = |start| code(mappings).any(|mapping| mapping.range.contains(&start));
    let modules = beginnings.filter_map(|beginning| {
        let (image, bias) = image(memory, beginning)?;
        let here = |own: &Range<u64>| own.start.wrapping_add(bias)..own.end.wrapping_add(bias);
        if !image.code.iter().any(|own| is_code(here(own).start)) {
            return None;
        }
        let range = here(&(image.lowest..image.highest));
        let same = known.iter().position(|known| {
            known.range == range && known.inode == beginning.inode && known.name == beginning.name
        });
        if let Some(same) = same {
            return Some(known.swap_remove(same));
        }
        let section = |own: Range<u64>| {
            let size = own.end.checked_sub(own.start)?;
            let bytes = read(memory, here(&own).start, size)?;
            Some(Section {
                range: own,
                bytes: bytes.into(),
            })
        };
        let index = image.index.and_then(section);
        let frames = index.as_ref().and_then(|index| {
            let frames = elf::frames_at(index.range.start, &index.bytes)?;
            let mut loaded = image.loaded.iter();
            section(frames..loaded.find(|segment| segment.contains(&frames))?.end)
        });
        Some(Module {
            name: beginning.name.clone(),
            inode: beginning.inode,
            bias,
            range,
            code: image.code.iter().map(here).collect(),
            index,
            frames,
            symbols: Symbols::default(),
        })
    });
    modules.collect()
}

fn is_named(mapping: &Mapping) -> bool {
    mapping.name.starts_with('/') || mapping.name == "[vdso]"
}

/// Also returns what has to be added to its own addresses.
fn image(memory: &File, beginning: &Mapping) -> Option<(Image, u64)> {
    let start = beginning.range.start;
    let header = read(memory, start, elf::HEADER_SIZE)?;
    let header = elf::Header::parse(&header)?;
    let table = read(
        memory,
        start.checked_add(header.segments_at)?,
        header.segments_size(),
    )?;
    let image = header.image(&table)?;
    let bias = start.wrapping_sub(image.lowest);
    Some((image, bias))
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
    use crate::stack::linux::memory;

    #[test]
    fn finds_this_program_and_its_libraries() {
        let memory = memory::open().unwrap();
        let modules = load(&memory, &memory::mappings(), Vec::new());
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

    #[test]
    fn keeps_what_is_still_the_same() {
        let memory = memory::open().unwrap();
        let mut mappings = memory::mappings();
        let tables = |modules: &[Module]| -> Vec<_> {
            let indexes = modules.iter().filter_map(|module| module.index.as_ref());
            indexes.map(|index| Arc::as_ptr(&index.bytes.0)).collect()
        };
        let first = load(&memory, &mappings, Vec::new());
        let before = tables(&first);
        let second = load(&memory, &mappings, first);
        assert_eq!(tables(&second), before);
        for mapping in &mut mappings {
            mapping.inode += 1;
        }
        let third = tables(&load(&memory, &mappings, second));
        assert_eq!(third.len(), before.len());
        assert!(third.iter().all(|table| !before.contains(table)));
    }
}
