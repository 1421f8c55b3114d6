//! Corrupt tables and debug information. Nothing may panic: with `panic = "abort"` that would end the
//! program.
//!
//! `LOOPMON_STRESS=10000 cargo test --features stack --lib resolve::tests` is the long form. What `fuzz/` has found is
//! in `tests/hostile.rs`.

mod hostile;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use super::debug::Debug;
use super::elf_file::ElfFile;
use super::file::Source;
use super::paged::Paged;
use super::*;
use crate::stack::linux::image::BacklogShare;
use crate::stack::sys::{Others, Registers};

fn rounds() -> usize {
    let asked = std::env::var("LOOPMON_STRESS").ok();
    asked.map_or(300, |rounds| rounds.parse().unwrap())
}

/// Xorshift with a fixed seed, so that failures repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn byte(&mut self, old: u8) -> u8 {
        match self.below(5) {
            0 => 0,
            1 => 0xff,
            2 => old ^ (1 << self.below(8)),
            3 => 0x80,
            _ => self.next() as u8,
        }
    }

    fn change(&mut self, bytes: &mut [u8], times: usize) {
        for _ in 0..times {
            let at = self.below(bytes.len());
            bytes[at] = self.byte(bytes[at]);
        }
    }

    fn code(&mut self, modules: &[Module]) -> u64 {
        let module = &modules[self.below(modules.len())];
        let code = &module.code[self.below(module.code.len())];
        code.start + self.next() % (code.end - code.start)
    }

    /// Returns a stack of words that are addresses of code, of the stack itself, or neither.
    fn image(&mut self, modules: &[Module]) -> Image {
        let size = 8 * (1 + self.below(2048));
        let sp = match self.below(8) {
            0 => self.next(),
            1 => u64::MAX - 64 * self.below(300) as u64,
            2 => 8 * self.below(100) as u64,
            _ => 0x7fff_0000_0000 + self.below(1 << 20) as u64,
        };
        let mut bytes = Vec::with_capacity(size);
        for _ in 0..size / 8 {
            let word = match self.below(5) {
                0 => self.next(),
                1 => sp.wrapping_add(self.below(size + 64) as u64),
                2 => 0,
                _ => self.code(modules),
            };
            bytes.extend(word.to_le_bytes());
        }
        let registers = Registers {
            pc: match self.below(8) {
                0 => self.next(),
                1 => 0,
                _ => self.code(modules),
            },
            sp,
            others: match self.below(3) {
                0 => None,
                1 => Some([self.next(); 2]),
                _ => Some([sp.wrapping_add(self.below(size) as u64), self.code(modules)]),
            }
            .map(|[fp, lr]| Others { fp, lr }),
        };
        let read = bytes.len();
        Image::new(registers, bytes, read, BacklogShare::reserve().unwrap())
    }
}

#[test]
fn tables_for_unwinding() {
    let mut random = Random(88_172_645_463_325_252);
    let memory = Rc::new(Memory(open_memory().unwrap()));
    let plenty = Budget::new(u64::MAX, u64::MAX);
    let mut modules = modules::load(&memory, &memory::mappings(), Vec::new(), &plenty);
    let paged = |bytes: Vec<u8>| Rc::new(Paged::whole(bytes, &plenty));
    let tables = modules.iter().map(|module| {
        let index = module.index.as_ref().map(|it| it.bytes.to_vec());
        let frames = module.frames.as_ref().map(|it| it.bytes.to_vec());
        (index.unwrap_or_default(), frames.unwrap_or_default())
    });
    let tables: Vec<_> = tables.collect();
    for round in 0..rounds() {
        if round % 16 == 0 {
            for (module, (index, frames)) in modules.iter_mut().zip(&tables) {
                let (mut index, mut frames) = (index.clone(), frames.clone());
                if random.below(3) == 0 {
                    let times = 1 + random.below(200);
                    random.change(&mut index, times);
                }
                let times = frames.len() / (4 + random.below(60));
                random.change(&mut frames, times);
                let own = module.index.as_mut().zip(module.frames.as_mut());
                if let Some((own_index, own_frames)) = own {
                    own_index.bytes = paged(index);
                    own_frames.bytes = paged(frames);
                }
            }
        }
        let image = random.image(&modules);
        let mut unwinder = Unwinder::new(Rc::clone(&memory), modules);
        let walk = unwinder.walk(&image);
        assert!(!walk.addresses.is_empty());
        modules = unwinder.into_modules();
    }
}

/// Reads a copy of this program that changes again and again.
#[test]
fn debug_information() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let path = std::env::temp_dir().join(format!("loopmon-hostile-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
    let copy = fs::OpenOptions::new().read(true).write(true).open(&path);
    let copy = copy.unwrap();
    let intact = ElfFile::read(Source::open(&path).unwrap()).unwrap();
    let sections = [
        ".debug_info",
        ".debug_abbrev",
        ".debug_line",
        ".debug_ranges",
        ".debug_rnglists",
        ".debug_aranges",
        ".debug_str",
        ".symtab",
        ".strtab",
    ];
    let sections = sections.map(|name| intact.section(name).map(|it| (it.offset, it.size)));
    let text = intact.section(".text").unwrap();
    let (start, size) = (text.address, text.size);
    // A round takes as long as a hundred stacks.
    for _ in 0..rounds().div_ceil(100) {
        let mut changed = Vec::new();
        for &(offset, size) in sections.iter().flatten() {
            for _ in 0..1 + random.below(12) {
                let at = offset + random.next() % size;
                let mut byte = [0];
                copy.read_exact_at(&mut byte, at).unwrap();
                changed.push((at, byte));
                let new = random.byte(byte[0]);
                copy.write_all_at(&[new], at).unwrap();
            }
        }
        let addresses = (0..40).map(|_| start + random.next() % size);
        look_up(&path, &addresses.collect::<Vec<_>>());
        for (at, byte) in changed.into_iter().rev() {
            copy.write_all_at(&byte, at).unwrap();
        }
    }
    fs::remove_file(&path).unwrap();
}

fn look_up(path: &Path, addresses: &[u64]) {
    let budget = Budget::new(64 << 20, 8_000_000);
    let Some(file) = ElfFile::read(Source::open(path).unwrap()) else {
        return;
    };
    if let Some(debug) = Debug::read(&file, path, &budget) {
        for &address in addresses {
            debug.calls_at(&symbols::unnamed(None, address));
        }
    }
    file.symbols_at(addresses.to_vec());
}
