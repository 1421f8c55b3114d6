//! An ELF file on the disk: its sections, what is packed in them, and its table of symbols.

use std::iter;
use std::rc::Rc;

use super::budget::Budget;
use super::elf::{SectionHeader, SectionTable, chunk};
use super::file::Source;
use super::paged::Paged;
use super::unpack::{Packed, unpack};

/// The names of the sections of a program take some hundred bytes.
const LARGEST_NAMES: u64 = 1 << 20;

/// How much of a table of symbols is looked at; some 10 million of them.
const LARGEST_TABLE: u64 = 256 << 20;

/// Names that are longer are no names.
const LONGEST_NAME: u64 = 64 << 10;

const SYMBOL_SIZE: usize = 24;

#[derive(Debug)]
pub(super) struct ElfFile {
    source: Rc<Source>,
    sections: Vec<SectionHeader>,
    names: Vec<u8>,
}

/// A function, as the table of symbols has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) start: u64,
    pub(super) name: String,
}

impl ElfFile {
    pub(super) fn read(source: Source) -> Option<ElfFile> {
        let header = source.bytes(0, super::elf::HEADER_SIZE)?;
        let table = SectionTable::parse(&header)?;
        let headers = source.bytes(table.at, table.size())?;
        let sections: Vec<_> = table.sections(&headers)?;
        let names = sections.get(table.names)?;
        let names = source.bytes(names.offset, names.size.min(LARGEST_NAMES))?;
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
            let own = self.names.get(section.name as usize..);
            let rest = own.and_then(|own| own.strip_prefix(name.as_bytes()));
            rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        self.sections
            .iter()
            .filter(|section| section.is_in_file)
            .find(is_named)
    }

    /// How much memory a section takes at once, if it is packed or wanted `whole`; else it is read
    /// piece by piece.
    pub(super) fn room_for(&self, section: &SectionHeader, whole: bool) -> Option<u64> {
        match self.packed(section) {
            Some(packed) => packed?.room(section.size),
            None => Some(if whole { section.size } else { 0 }),
        }
    }

    /// If the budget bears it.
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
        let room = self.room_for(section, whole)?;
        budget.take(room)?;
        let paged = match self.packed(section) {
            Some(packed) => {
                let bytes = self.source.bytes(at, size)?;
                let bytes = unpack(&packed?, bytes.get(Packed::HEADER_SIZE as usize..)?)?;
                budget.give_back(room.saturating_sub(bytes.len() as u64));
                Paged::whole(bytes, budget)
            }
            None if whole => Paged::whole(self.source.bytes(at, size)?, budget),
            None => Paged::of(Rc::<Source>::clone(&self.source), at, size, budget)?,
        };
        Some(Rc::new(paged))
    }

    /// What a section is packed as, if it is; which need not be known here.
    fn packed(&self, section: &SectionHeader) -> Option<Option<Packed>> {
        let header = || self.source.bytes(section.offset, Packed::HEADER_SIZE);
        section
            .is_packed
            .then(|| header().and_then(|header| Packed::parse(&header)))
    }

    /// For each address, the last function that begins there or before, and has not ended.
    ///
    /// The table is read from one end to the other, so that it takes no memory.
    pub(super) fn symbols_at(&self, addresses: &[u64]) -> Vec<Option<Symbol>> {
        let mut sorted = addresses.to_vec();
        sorted.sort_unstable();
        let found = self.nearest(&sorted).unwrap_or_default();
        let named = addresses.iter().map(|address| {
            let found = found.get(sorted.partition_point(|it| it < address))?;
            let (table, name, start) = (*found)?;
            Some(Symbol {
                start,
                name: self.name(table, name)?,
            })
        });
        named.collect()
    }

    /// For each address, in ascending order: the section with the name, where in it, and the start.
    fn nearest(&self, sorted: &[u64]) -> Option<Vec<Option<(usize, u32, u64)>>> {
        const ALL: u32 = 2;
        const EXPORTED: u32 = 11;
        let of = |kind| self.sections.iter().find(|section| section.kind == kind);
        let table = of(ALL).or_else(|| of(EXPORTED))?;
        if table.size > LARGEST_TABLE {
            return None;
        }
        let mut nearest: Vec<Option<Function>> = vec![None; sorted.len()];
        for piece in self.pieces(table) {
            for symbol in piece?.chunks_exact(SYMBOL_SIZE) {
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
            let function = before.filter(|function| function.holds(*address))?;
            Some((table.link, function.name, function.start))
        });
        Some(found.collect())
    }

    fn pieces(&self, section: &SectionHeader) -> impl Iterator<Item = Option<Vec<u8>>> {
        const AT_ONCE: u64 = SYMBOL_SIZE as u64 * 4096;
        let (mut at, mut left) = (section.offset, section.size);
        iter::from_fn(move || {
            let size = left.min(AT_ONCE);
            let piece = (size > 0).then(|| self.source.bytes(at, size))?;
            left = if piece.is_some() { left - size } else { 0 };
            at += size;
            Some(piece)
        })
    }

    fn name(&self, table: usize, at: u32) -> Option<String> {
        let names = self.sections.get(table)?;
        let left = names.size.checked_sub(at.into())?;
        let at = names.offset.checked_add(at.into())?;
        let mut size = 256;
        loop {
            let asked = left.min(size);
            let bytes = self.source.bytes(at, asked)?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                return Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            if asked == left || size > LONGEST_NAME {
                return None;
            }
            size *= 8;
        }
    }
}

/// An entry of the table.
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
        const CHOSEN_AT_START: u8 = 10;
        let kind = symbol.get(4)? & 15;
        let section = u16::from_le_bytes(chunk(symbol, 6)?);
        let function = Function {
            name: u32::from_le_bytes(chunk(symbol, 0)?),
            start: u64::from_le_bytes(chunk(symbol, 8)?),
            size: u64::from_le_bytes(chunk(symbol, 16)?),
        };
        let is_function = match kind {
            FUNCTION | CHOSEN_AT_START => true,
            UNTYPED => function.size > 0,
            _ => false,
        };
        (is_function && section != 0).then_some(function)
    }

    /// Those written in assembler may not say how large they are.
    fn holds(&self, address: u64) -> bool {
        self.size == 0 || address - self.start < self.size
    }
}
