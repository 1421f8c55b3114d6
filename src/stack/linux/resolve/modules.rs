//! The programs and libraries that are loaded, and their tables for unwinding.
//!
//! Read from memory, not from files: what is on the disk may have been replaced, and the kernel's own
//! vDSO is in no file. Their names alone come from files, and are read when the first is asked for.

use std::ops::Range;
use std::rc::Rc;

use super::elf::{self, Image};
use super::index::Index;
use super::memory::{Mapping, Memory};
use super::paged::{Budget, Origin, Paged};
use super::symbols::Symbols;

/// No table of segments is larger.
const LARGEST_TABLE: u64 = 64 << 10;

pub(super) struct Module {
    pub(super) name: String,
    inode: u64,
    /// What has to be added to the addresses in its tables.
    pub(super) bias: u64,
    pub(super) range: Range<u64>,
    pub(super) code: Vec<Range<u64>>,
    pub(super) index: Option<Index>,
    pub(super) frames: Option<Section>,
    pub(super) memory: Rc<Memory>,
    pub(super) symbols: Symbols,
}

impl Module {
    /// By the module's own addresses.
    pub(super) fn function_of(&self, own: u64) -> Option<u64> {
        Some(self.index.as_ref()?.entry(own)?.function)
    }
}

/// The table for unwinding. By the module's own addresses.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) start: u64,
    pub(super) bytes: Rc<Paged>,
}

/// Those of the mappings that are of a program or a library, and hold its code. While they stay as
/// they are, so do the modules.
pub(super) fn code(mappings: &[Mapping]) -> impl Iterator<Item = &Mapping> {
    let code = |mapping: &&Mapping| mapping.executable && is_named(mapping);
    mappings.iter().filter(code)
}

/// All that can be read. What of it is in `known` is taken from there, with the names that have been
/// read.
pub(super) fn load(
    memory: &Rc<Memory>,
    mappings: &[Mapping],
    mut known: Vec<Module>,
    budget: &Rc<Budget>,
) -> Vec<Module> {
    let beginnings = mappings
        .iter()
        .filter(|mapping| mapping.offset == 0 && is_named(mapping));
    // A file may also be mapped to be read.
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
        let paged = |own: Range<u64>| {
            let origin = Rc::<Memory>::clone(memory);
            let size = own.end.checked_sub(own.start)?;
            Some(Rc::new(Paged::of(origin, here(&own).start, size, budget)?))
        };
        let index = image.index.and_then(|own| {
            let at = own.start;
            let bytes = paged(own)?;
            Some(Index { at, bytes })
        });
        let frames = index.as_ref().and_then(|index| {
            let start = index.frames_at()?;
            let mut loaded = image.loaded.iter();
            let bytes = paged(start..loaded.find(|segment| segment.contains(&start))?.end)?;
            Some(Section { start, bytes })
        });
        Some(Module {
            name: beginning.name.clone(),
            inode: beginning.inode,
            bias,
            range,
            code: image.code.iter().map(here).collect(),
            index,
            frames,
            memory: Rc::clone(memory),
            symbols: Symbols::default(),
        })
    });
    modules.collect()
}

fn is_named(mapping: &Mapping) -> bool {
    mapping.name.starts_with('/') || mapping.name == "[vdso]"
}

/// Also returns what has to be added to its own addresses.
fn image(memory: &Memory, beginning: &Mapping) -> Option<(Image, u64)> {
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

fn read(memory: &Memory, address: u64, size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size.min(LARGEST_TABLE)).ok()?;
    let mut bytes = vec![0; size];
    memory.read(address, &mut bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::memory;
    use super::*;
    use crate::stack::linux::image::open_memory;

    #[test]
    fn finds_this_program_and_its_libraries() {
        let memory = Rc::new(Memory(open_memory().unwrap()));
        let budget = Budget::new(u64::MAX, u64::MAX);
        let modules = load(&memory, &memory::mappings(), Vec::new(), &budget);
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
        let memory = Rc::new(Memory(open_memory().unwrap()));
        let budget = Budget::new(u64::MAX, u64::MAX);
        let mut mappings = memory::mappings();
        let tables = |modules: &[Module]| -> Vec<_> {
            let indexes = modules.iter().filter_map(|module| module.index.as_ref());
            indexes.map(|index| Rc::as_ptr(&index.bytes)).collect()
        };
        let first = load(&memory, &mappings, Vec::new(), &budget);
        let before = tables(&first);
        let second = load(&memory, &mappings, first, &budget);
        assert_eq!(tables(&second), before);
        for mapping in &mut mappings {
            mapping.inode += 1;
        }
        let third = tables(&load(&memory, &mappings, second, &budget));
        assert_eq!(third.len(), before.len());
        assert!(third.iter().all(|table| !before.contains(table)));
    }
}
