//! From addresses to functions, files and lines.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use addr2line::demangle_auto;

use super::debug::Debug;
use super::elf;
use super::elf_file::{ElfFile, Symbol};
use super::file::Source;
use super::modules::Module;
use super::paged::{Budget, Origin};
use crate::stack::frame::Frame;

/// What the kernel adds to the name of a file that is not there any more. One that has been replaced
/// has the new one's names.
const DELETED: &str = " (deleted)";
const PROGRAM: &str = "/proc/self/exe";

/// What a module's file says of its functions; nothing if it cannot be read.
#[derive(Default)]
pub(super) struct Symbols(OnceCell<Option<Known>>);

struct Known {
    file: ElfFile,
    debug: Option<Debug>,
    /// What has been looked up in the table of symbols.
    named: RefCell<HashMap<u64, Option<Symbol>>>,
}

impl Symbols {
    /// Whether the files are as they were when they were first looked at.
    pub(super) fn are_unchanged(&self) -> bool {
        let known = self.0.get().and_then(Option::as_ref);
        known.is_none_or(|known| {
            let debug = known.debug.as_ref();
            known.file.is_unchanged() && debug.is_none_or(Debug::is_unchanged)
        })
    }

    /// Whether the file was read, and tells of no lines.
    pub(super) fn lack_lines(&self) -> bool {
        let known = self.0.get().and_then(Option::as_ref);
        known.is_some_and(|known| known.file.section(".debug_info").is_none())
    }

    fn of<'a>(module: &'a Module, budget: &Rc<Budget>) -> Option<&'a Known> {
        let load = || Known::read(module, budget);
        module.symbols.0.get_or_init(load).as_ref()
    }
}

impl Known {
    fn read(module: &Module, budget: &Rc<Budget>) -> Option<Known> {
        let path = path(&module.name)?;
        let file = ElfFile::read(Source::open(&path).ok()?)?;
        if !is_same(&file, module) {
            return None;
        }
        Some(Known {
            debug: Debug::read(&file, &path, budget),
            file,
            named: RefCell::default(),
        })
    }

    /// Looks all up at once, as that takes a look at the whole table.
    fn look_up(&self, addresses: &[u64]) {
        let mut named = self.named.borrow_mut();
        let mut new = addresses.to_vec();
        new.retain(|address| !named.contains_key(address));
        if !new.is_empty() {
            let symbols = self.file.symbols_at(&new);
            named.extend(new.into_iter().zip(symbols));
        }
    }
}

/// What is on the disk may be another build, such as one that was copied over it, or the one that has
/// this path outside of a container. It does not have the same table of where all functions are.
fn is_same(file: &ElfFile, module: &Module) -> bool {
    let there = file.section(".eh_frame_hdr");
    match (there, &module.index) {
        (Some(there), Some(index)) => {
            there.address == index.at
                && there.size == index.bytes.size() as u64
                && index.bytes.is_same_as(file.source(), there.offset)
        }
        (None, None) => {
            let mut headers = [[0; elf::HEADER_SIZE as usize]; 2];
            let [loaded, stored] = &mut headers;
            let read = module.memory.read(module.range.start, loaded);
            let read = read.and_then(|()| file.source().read(0, stored));
            read.is_some() && loaded == stored
        }
        _ => false,
    }
}

/// The file that a module was loaded from, while it can be had.
fn path(name: &str) -> Option<PathBuf> {
    if name.ends_with(DELETED) {
        // The program's own file stays open to it.
        let program = fs::read_link(PROGRAM).ok()?;
        return (program.as_os_str() == name).then(|| PROGRAM.into());
    }
    name.starts_with('/').then(|| Path::new(name).to_owned())
}

/// The calls at each address; more than one where the compiler has merged some, the innermost first.
pub(super) fn frames<'a>(
    addresses: &[u64],
    module_of: impl Fn(u64) -> Option<&'a Module>,
    budget: &Rc<Budget>,
) -> Vec<Frame> {
    let mut calls = Vec::new();
    let mut nameless = HashMap::<*const Module, (&Module, Vec<u64>)>::new();
    for &address in addresses {
        let module = module_of(address);
        let of_it = calls_at(module, address, budget);
        let named = of_it.last().and_then(Frame::function);
        if let (Some(module), None) = (module, named) {
            let waiting = nameless.entry(module).or_insert((module, Vec::new()));
            waiting.1.push(address.wrapping_sub(module.bias));
        }
        calls.push((module, of_it));
    }
    for (module, addresses) in nameless.values() {
        if let Some(known) = Symbols::of(module, budget) {
            known.look_up(addresses);
        }
    }
    let named = calls.into_iter().flat_map(|(module, mut frames)| {
        if let (Some(module), Some(outermost)) = (module, frames.last_mut()) {
            let named = outermost.function.take();
            outermost.function = named.or_else(|| symbol(module, outermost.offset, budget));
        }
        frames
    });
    named.collect()
}

/// By the debug information.
fn calls_at(module: Option<&Module>, address: u64, budget: &Rc<Budget>) -> Vec<Frame> {
    let bare = bare(module, address);
    let described = module.and_then(|module| {
        let debug = Symbols::of(module, budget)?.debug.as_ref()?;
        debug.calls_at(bare.offset)
    });
    let described = described.unwrap_or_default().into_iter();
    let frames = described.map(|call| Frame {
        function: call.function,
        file: call.file,
        line: call.line,
        inlined: true,
        ..bare.clone()
    });
    let mut frames: Vec<_> = frames.collect();
    match frames.last_mut() {
        Some(outermost) => outermost.inlined = false,
        None => frames.push(bare),
    }
    frames
}

/// The call at an address, without a name.
pub(super) fn bare(module: Option<&Module>, address: u64) -> Frame {
    Frame {
        function: None,
        file: None,
        line: None,
        module: module.map(|module| module.name.clone()),
        offset: address.wrapping_sub(module.map_or(0, |module| module.bias)),
        inlined: false,
    }
}

/// By the table of symbols, if it has been looked up. What is there is the last one that begins before
/// the address, which need not be that of the function: a stripped program has hardly any.
fn symbol(module: &Module, own: u64, budget: &Rc<Budget>) -> Option<String> {
    let named = Symbols::of(module, budget)?.named.borrow();
    let symbol = named.get(&own)?.as_ref()?;
    let begins = module.function_of(own)?;
    (symbol.start >= begins).then(|| demangle_auto(symbol.name.as_str().into(), None).into_owned())
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
        let mut module = modules.find(|it| it.range.contains(&here)).unwrap();
        module.name = path.to_str().unwrap().to_owned();
        (module, here)
    }

    fn names(module: &Module, address: u64, budget: &Rc<Budget>) -> Vec<Option<String>> {
        let frames = frames(&[address], |_| Some(module), budget);
        frames.into_iter().map(|frame| frame.function).collect()
    }

    #[test]
    fn a_file_that_is_cut_or_written_anew_gives_no_names() {
        let path = std::env::temp_dir().join(format!("loopmon-deployed-{}", std::process::id()));
        let program = std::env::current_exe().unwrap();
        let budget = plenty();
        let elsewhere = |here| here - 64..here + 4096;
        for size in [0, 4096, fs::metadata(&program).unwrap().len()] {
            fs::copy(&program, &path).unwrap();
            let (mut module, here) = own_module(&path);
            let names_here = names(&module, here, &budget);
            assert!(names_here[0].as_ref().unwrap().ends_with("own_module"));
            assert!(module.symbols.are_unchanged());
            // As a deploy by copy does: it cuts the file, and writes the new one into it.
            fs::File::create(&path).unwrap().set_len(size).unwrap();
            assert!(!module.symbols.are_unchanged());
            // What has been read may be there, and nothing else.
            for address in elsewhere(here).step_by(16) {
                names(&module, address, &budget);
            }
            module.symbols = Symbols::default();
            assert_eq!(names(&module, here, &budget), [None]);
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn beyond_the_budget_the_table_of_symbols_gives_names() {
        let budget = Budget::new(64 << 10, u64::MAX);
        let (module, here) = own_module(&std::env::current_exe().unwrap());
        let calls = frames(&[here], |_| Some(&module), &budget);
        assert_eq!(calls.len(), 1);
        assert!(calls[0].function().unwrap().ends_with("own_module"));
        assert_eq!(calls[0].line(), None);
        assert!(budget.fell_short());

        let budget = Budget::new(u64::MAX, 10_000);
        let (module, here) = own_module(&std::env::current_exe().unwrap());
        let names = names(&module, here, &budget);
        assert!(names[0].as_ref().unwrap().ends_with("own_module"));
        assert!(budget.fell_short());
    }

    #[test]
    fn only_a_symbol_of_the_same_function_names_it() {
        let memory = Rc::new(Memory(open_memory().unwrap()));
        let here = only_a_symbol_of_the_same_function_names_it as fn() as usize as u64;
        let budget = plenty();
        let modules = modules::load(&memory, &memory::mappings(), Vec::new(), &budget);
        let mut modules = modules.into_iter();
        let mut module = modules.find(|it| it.range.contains(&here)).unwrap();
        let own = here - module.bias + 1;
        Symbols::of(&module, &budget).unwrap().look_up(&[own]);
        let name = symbol(&module, own, &budget).unwrap();
        assert!(name.ends_with("names_it"), "{name}");

        // An index that says that a function begins just after the symbol.
        let bytes = vec![
            1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        module.index = Some(Index {
            at: own,
            bytes: Rc::new(Paged::whole(bytes, &budget)),
        });
        assert_eq!(symbol(&module, own, &budget), None);

        // That is not the file's own, had it been looked at only now.
        module.symbols = Symbols::default();
        assert!(Symbols::of(&module, &budget).is_none());
    }
}
