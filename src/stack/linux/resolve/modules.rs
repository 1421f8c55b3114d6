//! The program and the libraries that are loaded, with their unwind tables.
//!
//! All of it is read from memory, not from files: a file may have been replaced, and the kernel's vDSO is
//! in no file. Names of functions come from files: see `symbols.rs`.

use std::ops::Range;
use std::rc::Rc;

use super::budget::Budget;
use super::elf;
use super::index::Index;
use super::memory::{Mapping, Memory};
use super::paged::{Origin, Paged};

/// Bounds the program headers that are read, in bytes. No real table is larger.
const MAX_PROGRAM_HEADERS: u64 = 64 << 10;

/// The program or one library.
pub(super) struct Module {
    pub(super) id: ModuleId,
    /// Maps an address in the module's tables to one in memory, when added to it.
    pub(super) bias: u64,
    pub(super) code: Vec<Range<u64>>,
    pub(super) index: Option<Index>,
    pub(super) frames: Option<Section>,
    pub(super) memory: Rc<Memory>,
}

/// Identifies which file is loaded where. A library that is replaced by another gets a new id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ModuleId {
    pub(super) range: Range<u64>,
    inode: u64,
    /// The path of the file, or `[vdso]`.
    pub(super) name: Rc<str>,
}

impl Module {
    pub(super) fn contains(&self, address: u64) -> bool {
        self.id.range.contains(&address)
    }

    /// Returns the start of the function at an address. Both are relative to the module.
    pub(super) fn function_of(&self, relative: u64) -> Option<u64> {
        Some(self.index.as_ref()?.entry(relative)?.function)
    }

    /// Opens the module's unwind tables, without reading them yet.
    fn open(
        id: ModuleId,
        image: elf::Image,
        bias: u64,
        memory: &Rc<Memory>,
        budget: &Rc<Budget>,
    ) -> Module {
        let paged = |relative: Range<u64>| {
            let origin = Rc::<Memory>::clone(memory);
            let size = relative.end.checked_sub(relative.start)?;
            let start = relative.start.wrapping_add(bias);
            Some(Rc::new(Paged::of(origin, start, size, budget)?))
        };
        let index = image.index.and_then(|range| {
            let at = range.start;
            let bytes = paged(range)?;
            Some(Index { at, bytes })
        });
        let frames = index.as_ref().and_then(|index| {
            let start = index.frames_at()?;
            let mut loaded = image.loaded.iter();
            let bytes = paged(start..loaded.find(|segment| segment.contains(&start))?.end)?;
            Some(Section { start, bytes })
        });
        Module {
            id,
            bias,
            code: image.code.iter().map(|code| shifted(code, bias)).collect(),
            index,
            frames,
            memory: Rc::clone(memory),
        }
    }
}

/// The unwind table. Its start is relative to the module.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) start: u64,
    pub(super) bytes: Rc<Paged>,
}

/// Returns the mappings that hold the code of a program or library. As long as they are unchanged, so are
/// the modules.
pub(super) fn code(mappings: &[Mapping]) -> impl Iterator<Item = &Mapping> {
    let code = |mapping: &&Mapping| mapping.executable && is_named(mapping);
    mappings.iter().filter(code)
}

/// Returns all modules that can be read. A module that is already in `known` is taken from there, with
/// what was read of its tables.
pub(super) fn load(
    memory: &Rc<Memory>,
    mappings: &[Mapping],
    mut known: Vec<Module>,
    budget: &Rc<Budget>,
) -> Vec<Module> {
    let first_mappings = mappings
        .iter()
        .filter(|mapping| mapping.offset == 0 && is_named(mapping));
    // A file may also be mapped as data.
    let is_code = |start| code(mappings).any(|mapping| mapping.range.contains(&start));
    let modules = first_mappings.filter_map(|first| {
        let (image, bias) = image(memory, first)?;
        let mut code = image.code.iter();
        if !code.any(|code| is_code(shifted(code, bias).start)) {
            return None;
        }
        let id = ModuleId {
            range: shifted(&(image.lowest..image.highest), bias),
            inode: first.inode,
            name: first.name.as_str().into(),
        };
        Some(match known.iter().position(|known| known.id == id) {
            Some(same) => known.swap_remove(same),
            None => Module::open(id, image, bias, memory, budget),
        })
    });
    modules.collect()
}

fn shifted(relative: &Range<u64>, bias: u64) -> Range<u64> {
    relative.start.wrapping_add(bias)..relative.end.wrapping_add(bias)
}

fn is_named(mapping: &Mapping) -> bool {
    mapping.name.starts_with('/') || mapping.name == "[vdso]"
}

/// Returns the layout and the bias of the module whose first mapping this is.
fn image(memory: &Memory, first: &Mapping) -> Option<(elf::Image, u64)> {
    let start = first.range.start;
    let header = read(memory, start, elf::HEADER_SIZE)?;
    let (at, size) = elf::program_headers(&header)?;
    let image = elf::Image::parse(&read(memory, start.checked_add(at)?, size)?)?;
    let bias = start.wrapping_sub(image.lowest);
    Some((image, bias))
}

fn read(memory: &Memory, address: u64, size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size.min(MAX_PROGRAM_HEADERS)).ok()?;
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
        let own = modules.iter().find(|module| module.contains(here)).unwrap();
        assert!(own.code.iter().any(|code| code.contains(&here)));
        let program = std::env::current_exe().unwrap();
        assert_eq!(&*own.id.name, program.to_str().unwrap());
        assert!(own.index.is_some() && own.frames.is_some());
        let mut vdsos = modules.iter().filter(|it| &*it.id.name == "[vdso]");
        let vdso = vdsos.next().unwrap();
        // On AArch64 it is built without.
        let has_tables = cfg!(target_arch = "x86_64");
        assert_eq!(vdso.index.is_some(), has_tables);
        assert_eq!(vdso.frames.is_some(), has_tables);
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
