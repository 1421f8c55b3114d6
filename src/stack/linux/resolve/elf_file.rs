//! Reads an ELF file on the disk: its sections, decompressed if need be, and its symbol table. What the
//! debug information in it says is in `debug.rs`.

use std::iter;
use std::rc::Rc;

use super::budget::Budget;
use super::decompress::{Compressed, decompress};
use super::elf::{self, SectionHeader, chunk};
use super::file::Source;
use super::paged::Paged;

/// Bounds the names of all sections, in bytes. Those of a real program take some hundred.
const MAX_SECTION_NAMES: u64 = 1 << 20;

/// Bounds the symbol table, in bytes: some 10 million symbols.
const MAX_SYMBOL_TABLE: u64 = 256 << 20;

/// Bounds the name of one symbol, in bytes.
const MAX_NAME: u64 = 64 << 10;

const SYMBOL_SIZE: usize = 24;

#[derive(Debug)]
pub(super) struct ElfFile {
    source: Rc<Source>,
    sections: Vec<SectionHeader>,
    names: Vec<u8>,
}

/// A function, as the symbol table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) start: u64,
    pub(super) name: String,
}

impl ElfFile {
    pub(super) fn read(source: Source) -> Option<ElfFile> {
        let header = source.bytes(0, elf::HEADER_SIZE)?;
        let (at, size) = elf::section_headers(&header)?;
        let sections = SectionHeader::parse_all(&source.bytes(at, size)?)?;
        let names = sections.get(elf::names_section(&header)?)?;
        let names = source.bytes(names.offset, names.size.min(MAX_SECTION_NAMES))?;
        Some(ElfFile {
            source: Rc::new(source),
            sections,
            names,
        })
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn is_unchanged(&self) -> bool {
        self.source.is_unchanged()
    }

    pub(super) fn section(&self, name: &str) -> Option<&SectionHeader> {
        let is_named = |section: &&SectionHeader| {
            let names = self.names.get(section.name as usize..);
            let rest = names.and_then(|names| names.strip_prefix(name.as_bytes()));
            rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        self.sections
            .iter()
            .filter(|section| section.is_in_file)
            .find(is_named)
    }

    /// Returns how much memory it takes to open a section. That is none for one that is read by the page:
    /// one that is neither compressed nor wanted `whole`.
    pub(super) fn memory_for(&self, section: &SectionHeader, whole: bool) -> Option<u64> {
        match self.compressed(section) {
            Some(compressed) => compressed?.memory(section.size),
            None => Some(if whole { section.size } else { 0 }),
        }
    }

    /// Returns `None` if the section exceeds the budget, or cannot be read.
    pub(super) fn open(
        &self,
        section: &SectionHeader,
        whole: bool,
        budget: &Rc<Budget>,
    ) -> Option<Rc<Paged>> {
        let (at, size) = (section.offset, section.size);
        if at.checked_add(size)? > self.source.size() {
            return None;
        }
        let memory = self.memory_for(section, whole)?;
        budget.take(memory)?;
        let paged = match self.compressed(section) {
            Some(compressed) => {
                let bytes = self.source.bytes(at, size)?;
                let content = bytes.get(Compressed::HEADER_SIZE as usize..)?;
                let bytes = decompress(&compressed?, content)?;
                budget.give_back(memory.saturating_sub(bytes.len() as u64));
                Paged::whole(bytes, budget)
            }
            None if whole => Paged::whole(self.source.bytes(at, size)?, budget),
            None => Paged::of(Rc::<Source>::clone(&self.source), at, size, budget)?,
        };
        Some(Rc::new(paged))
    }

    /// Returns how a section is compressed, if it is: `Some(None)` if in an unknown format.
    fn compressed(&self, section: &SectionHeader) -> Option<Option<Compressed>> {
        let header = || self.source.bytes(section.offset, Compressed::HEADER_SIZE);
        section
            .is_compressed
            .then(|| header().and_then(|header| Compressed::parse(&header)))
    }

    /// Returns each address with the last function that begins there or before, and does not end before.
    ///
    /// It scans the whole table in chunks, so that it keeps none of it in memory.
    pub(super) fn symbols_at(&self, mut addresses: Vec<u64>) -> Vec<(u64, Option<Symbol>)> {
        addresses.sort_unstable();
        let found = self.nearest(&addresses).unwrap_or_default().into_iter();
        let found = found.chain(iter::repeat(None));
        addresses.into_iter().zip(found).collect()
    }

    fn nearest(&self, sorted: &[u64]) -> Option<Vec<Option<Symbol>>> {
        const ALL: u32 = 2;
        const EXPORTED: u32 = 11;
        let of = |kind| self.sections.iter().find(|section| section.kind == kind);
        let table = of(ALL).or_else(|| of(EXPORTED))?;
        if table.size > MAX_SYMBOL_TABLE {
            return None;
        }
        let mut nearest: Vec<Option<Function>> = vec![None; sorted.len()];
        for chunk in self.chunks(table) {
            for symbol in chunk?.chunks_exact(SYMBOL_SIZE) {
                let Some(function) = Function::parse(symbol) else {
                    continue;
                };
                let first = sorted.partition_point(|address| *address < function.start);
                let Some(best) = nearest.get_mut(first) else {
                    continue;
                };
                if best.is_none_or(|best| best.start <= function.start) {
                    *best = Some(function);
                }
            }
        }
        let mut before = None;
        let found = nearest.into_iter().zip(sorted).map(|(nearest, address)| {
            before = nearest.or(before);
            let function = before.filter(|function| function.contains(*address))?;
            Some(Symbol {
                start: function.start,
                name: self.name(table.link, function.name)?,
            })
        });
        Some(found.collect())
    }

    fn chunks(&self, section: &SectionHeader) -> impl Iterator<Item = Option<Vec<u8>>> {
        const CHUNK: u64 = SYMBOL_SIZE as u64 * 4096;
        let (mut at, mut left) = (section.offset, section.size);
        iter::from_fn(move || {
            let size = left.min(CHUNK);
            let chunk = (size > 0).then(|| self.source.bytes(at, size))?;
            left = if chunk.is_some() { left - size } else { 0 };
            // The table may be said to lie at the end of all offsets.
            at = at.saturating_add(size);
            Some(chunk)
        })
    }

    fn name(&self, table: usize, at: u32) -> Option<String> {
        let names = self.sections.get(table)?;
        let left = names.size.checked_sub(at.into())?;
        let at = names.offset.checked_add(at.into())?;
        let mut size = 256;
        loop {
            let wanted = left.min(size);
            let bytes = self.source.bytes(at, wanted)?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                return Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            if wanted == left || size > MAX_NAME {
                return None;
            }
            size *= 8;
        }
    }
}

/// An entry of the symbol table that is a function.
#[derive(Debug, Clone, Copy)]
struct Function {
    name: u32,
    start: u64,
    size: u64,
}

impl Function {
    fn parse(symbol: &[u8]) -> Option<Function> {
        const UNTYPED: u8 = 0;
        const FUNCTION: u8 = 2;
        const INDIRECT_FUNCTION: u8 = 10;
        let kind = symbol.get(4)? & 15;
        let section = u16::from_le_bytes(chunk(symbol, 6)?);
        let function = Function {
            name: u32::from_le_bytes(chunk(symbol, 0)?),
            start: u64::from_le_bytes(chunk(symbol, 8)?),
            size: u64::from_le_bytes(chunk(symbol, 16)?),
        };
        let is_function = match kind {
            FUNCTION | INDIRECT_FUNCTION => true,
            UNTYPED => function.size > 0,
            _ => false,
        };
        (is_function && section != 0).then_some(function)
    }

    /// A function without a size, as assembler code may have, reaches to the next.
    fn contains(&self, address: u64) -> bool {
        self.size == 0 || address - self.start < self.size
    }
}
