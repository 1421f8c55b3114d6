//! Resolves addresses to functions, files and lines, from the files that the modules were loaded from.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use addr2line::demangle_auto;

use super::budget::Budget;
use super::debug::{Compilation, Debug};
use super::elf;
use super::elf_file::{ElfFile, Symbol};
use super::file::Source;
use super::modules::{Module, ModuleId};
use super::paged::Origin;
use crate::stack::frame::Frame;

/// The suffix that the kernel gives the path of a deleted file. What is at that path now, if anything, is
/// another file.
const DELETED: &str = " (deleted)";
const PROGRAM: &str = "/proc/self/exe";

/// The symbols of all modules, each read when the first of its addresses is resolved.
pub(super) struct Symbols {
    budget: Rc<Budget>,
    /// `None` for a module whose file cannot be read, or is another than the one that was loaded.
    files: HashMap<ModuleId, Option<SymbolFile>>,
}

struct SymbolFile {
    file: ElfFile,
    debug: Option<Debug>,
    /// Caches lookups in the symbol table, by relative address.
    symbols: HashMap<u64, Option<Symbol>>,
}

impl Symbols {
    pub(super) fn new(budget: Rc<Budget>) -> Symbols {
        Symbols {
            budget,
            files: HashMap::new(),
        }
    }

    /// Whether more debug information was needed than the budget allows.
    pub(super) fn exceed_budget(&self) -> bool {
        self.budget.is_exceeded()
    }

    /// Whether all files are as they were when they were opened.
    pub(super) fn are_unchanged(&self) -> bool {
        let mut files = self.files.values().flatten();
        files.all(SymbolFile::is_unchanged)
    }

    /// Whether the module's file was read and has no debug information.
    pub(super) fn lack_lines(&self, module: &Module) -> bool {
        let file = self.files.get(&module.id).and_then(Option::as_ref);
        file.is_some_and(|file| file.file.section(".debug_info").is_none())
    }

    /// Drops the symbols of all modules but these.
    pub(super) fn retain(&mut self, modules: &[Module]) {
        self.files
            .retain(|id, _| modules.iter().any(|module| module.id == *id));
    }

    /// Returns the calls at each address, the innermost first. There are several where the compiler has
    /// inlined some.
    pub(super) fn frames<'a>(
        &mut self,
        addresses: &[u64],
        module_of: impl Fn(u64) -> Option<&'a Module>,
    ) -> Vec<Frame> {
        let mut calls = Vec::new();
        let mut unnamed = HashMap::<&ModuleId, (&Module, Vec<u64>)>::new();
        for &address in addresses {
            let module = module_of(address);
            let frames = self.calls_at(module, address);
            let function = frames.last().and_then(Frame::function);
            if let (Some(module), None) = (module, function) {
                let (_, addresses) = unnamed.entry(&module.id).or_insert((module, Vec::new()));
                addresses.push(address.wrapping_sub(module.bias));
            }
            calls.push((module, frames));
        }
        for (module, addresses) in unnamed.values() {
            if let Some(file) = self.file_of(module) {
                file.look_up(addresses);
            }
        }
        let named = calls.into_iter().flat_map(|(module, mut frames)| {
            if let (Some(module), Some(outermost)) = (module, frames.last_mut()) {
                let function = outermost.function.take();
                outermost.function = function.or_else(|| self.symbol(module, outermost.offset));
            }
            frames
        });
        named.collect()
    }

    /// Returns what the module's code at these addresses was compiled for, as far as it has been read.
    pub(super) fn compilations(&self, module: &Module, addresses: &[u64]) -> Vec<Compilation> {
        let file = self.files.get(&module.id).and_then(Option::as_ref);
        let Some(debug) = file.and_then(|file| file.debug.as_ref()) else {
            return Vec::new();
        };
        let own = addresses
            .iter()
            .filter(|address| module.contains(**address));
        let relative = own.map(|address| address.wrapping_sub(module.bias));
        relative.filter_map(|at| debug.compilation_at(at)).collect()
    }

    fn file_of(&mut self, module: &Module) -> Option<&mut SymbolFile> {
        let file = self.files.entry(module.id.clone());
        file.or_insert_with(|| SymbolFile::read(module, &self.budget))
            .as_mut()
    }

    /// Returns the calls at an address as the debug information has them.
    fn calls_at(&mut self, module: Option<&Module>, address: u64) -> Vec<Frame> {
        let unnamed = unnamed(module, address);
        let described = module.and_then(|module| {
            let debug = self.file_of(module)?.debug.as_ref()?;
            debug.calls_at(&unnamed)
        });
        let frames = described.filter(|frames| !frames.is_empty());
        frames.unwrap_or_else(|| vec![unnamed])
    }

    /// Returns the name that the symbol table gives an address, if that was looked up.
    ///
    /// The table has the last symbol at or before the address. In a stripped program, which keeps hardly
    /// any, that may be a symbol of another function; the unwind table shows where this one begins.
    fn symbol(&mut self, module: &Module, relative: u64) -> Option<String> {
        let symbol = self.file_of(module)?.symbols.get(&relative)?.as_ref()?;
        let is_same_function = symbol.start >= module.function_of(relative)?;
        is_same_function.then(|| demangle_auto(symbol.name.as_str().into(), None).into_owned())
    }
}

impl SymbolFile {
    fn read(module: &Module, budget: &Rc<Budget>) -> Option<SymbolFile> {
        let path = path(&module.id.name)?;
        let file = ElfFile::read(Source::open(&path).ok()?)?;
        if !is_same(&file, module) {
            return None;
        }
        Some(SymbolFile {
            debug: Debug::read(&file, &path, budget),
            file,
            symbols: HashMap::new(),
        })
    }

    fn is_unchanged(&self) -> bool {
        let debug = self.debug.as_ref();
        self.file.is_unchanged() && debug.is_none_or(Debug::is_unchanged)
    }

    /// Looks all addresses up in one pass over the symbol table.
    fn look_up(&mut self, addresses: &[u64]) {
        let mut new = addresses.to_vec();
        new.retain(|address| !self.symbols.contains_key(address));
        if !new.is_empty() {
            self.symbols.extend(self.file.symbols_at(new));
        }
    }
}

/// Whether the file is the one that was loaded, by its index of all functions.
///
/// The file at this path may be another build: one that was copied over it, or the one that has this path
/// outside of a container. Its functions are elsewhere.
fn is_same(file: &ElfFile, module: &Module) -> bool {
    match (file.section(".eh_frame_hdr"), &module.index) {
        (Some(section), Some(index)) => {
            section.address == index.at
                && section.size == index.bytes.size() as u64
                && index.bytes.is_same_as(file.source(), section.offset)
        }
        (None, None) => {
            let mut headers = [[0; elf::HEADER_SIZE as usize]; 2];
            let [loaded, stored] = &mut headers;
            let read = module.memory.read(module.id.range.start, loaded);
            let read = read.and_then(|()| file.source().read(0, stored));
            read.is_some() && loaded == stored
        }
        _ => false,
    }
}

/// Returns the path of the file that a module was loaded from, if that file can still be opened.
fn path(name: &str) -> Option<PathBuf> {
    if name.ends_with(DELETED) {
        // The program's own file can be opened even when it is deleted.
        let program = fs::read_link(PROGRAM).ok()?;
        return (program.as_os_str() == name).then(|| PROGRAM.into());
    }
    name.starts_with('/').then(|| Path::new(name).to_owned())
}

/// Returns the call at an address without names, by its module and offset.
pub(super) fn unnamed(module: Option<&Module>, address: u64) -> Frame {
    Frame {
        function: None,
        file: None,
        line: None,
        module: module.map(|module| module.id.name.to_string()),
        offset: address.wrapping_sub(module.map_or(0, |module| module.bias)),
        inlined: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Index;
    use super::super::memory::{self, Memory};
    use super::super::modules;
    use super::super::paged::Paged;
    use super::*;
    use crate::stack::linux::image::open_memory;

    fn plenty() -> Rc<Budget> {
        Budget::new(u64::MAX, u64::MAX)
    }

    fn unbounded() -> Symbols {
        Symbols::new(plenty())
    }

    #[test]
    fn only_the_file_that_was_loaded_gives_names() {
        assert_eq!(
            path("/lib/here.so").as_deref(),
            Some("/lib/here.so".as_ref())
        );
        assert_eq!(path("/lib/replaced.so (deleted)"), None);
        assert_eq!(path("[vdso]"), None);
    }

    /// This program, as if it had been loaded from `path`.
    fn own_module(path: &Path) -> (Module, u64) {
        let memory = Rc::new(Memory(open_memory().unwrap()));
        let here = own_module as fn(_) -> _ as usize as u64 + 1;
        let modules = modules::load(&memory, &memory::mappings(), Vec::new(), &plenty());
        let mut modules = modules.into_iter();
        let mut module = modules.find(|it| it.contains(here)).unwrap();
        module.id.name = path.to_str().unwrap().into();
        (module, here)
    }

    fn names(symbols: &mut Symbols, module: &Module, address: u64) -> Vec<Option<String>> {
        let frames = symbols.frames(&[address], |_| Some(module));
        frames.into_iter().map(|frame| frame.function).collect()
    }

    #[test]
    fn a_file_that_is_cut_or_written_anew_gives_no_names() {
        let path = std::env::temp_dir().join(format!("loopmon-deployed-{}", std::process::id()));
        let program = std::env::current_exe().unwrap();
        let elsewhere = |here| here - 64..here + 4096;
        for size in [0, 4096, fs::metadata(&program).unwrap().len()] {
            fs::copy(&program, &path).unwrap();
            let (module, here) = own_module(&path);
            let mut symbols = unbounded();
            let names_here = names(&mut symbols, &module, here);
            assert!(names_here[0].as_ref().unwrap().ends_with("own_module"));
            assert!(symbols.are_unchanged());
            // As a deploy by copy does: it cuts the file, and writes the new one into it.
            fs::File::create(&path).unwrap().set_len(size).unwrap();
            assert!(!symbols.are_unchanged());
            // What has been read may be there, and nothing else.
            for address in elsewhere(here).step_by(16) {
                names(&mut symbols, &module, address);
            }
            assert_eq!(names(&mut unbounded(), &module, here), [None]);
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn beyond_the_budget_the_table_of_symbols_gives_names() {
        let mut symbols = Symbols::new(Budget::new(64 << 10, u64::MAX));
        let (module, here) = own_module(&std::env::current_exe().unwrap());
        let calls = symbols.frames(&[here], |_| Some(&module));
        assert_eq!(calls.len(), 1);
        assert!(calls[0].function().unwrap().ends_with("own_module"));
        assert_eq!(calls[0].line(), None);
        assert!(symbols.exceed_budget());

        let mut symbols = Symbols::new(Budget::new(u64::MAX, 10_000));
        let (module, here) = own_module(&std::env::current_exe().unwrap());
        let names = names(&mut symbols, &module, here);
        assert!(names[0].as_ref().unwrap().ends_with("own_module"));
        assert!(symbols.exceed_budget());
    }

    #[test]
    fn only_a_symbol_of_the_same_function_names_it() {
        let memory = Rc::new(Memory(open_memory().unwrap()));
        let here = only_a_symbol_of_the_same_function_names_it as fn() as usize as u64;
        let budget = plenty();
        let modules = modules::load(&memory, &memory::mappings(), Vec::new(), &budget);
        let mut modules = modules.into_iter();
        let mut module = modules.find(|it| it.contains(here)).unwrap();
        let relative = here - module.bias + 1;
        let mut symbols = unbounded();
        symbols.file_of(&module).unwrap().look_up(&[relative]);
        let name = symbols.symbol(&module, relative).unwrap();
        assert!(name.ends_with("names_it"), "{name}");

        // An index that says that a function begins just after the symbol.
        let bytes = vec![
            1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        module.index = Some(Index {
            at: relative,
            bytes: Rc::new(Paged::whole(bytes, &budget)),
        });
        assert_eq!(symbols.symbol(&module, relative), None);

        // Read only now, the file is not the one with this index.
        assert!(unbounded().file_of(&module).is_none());
    }
}
