//! From addresses to functions, files and lines.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs;

use addr2line::{Loader, demangle_auto};

use super::modules::Module;
use crate::stack::frame::Frame;

/// What the kernel adds to the name of a file that is not there any more. One that has been replaced
/// has the new one's names.
const DELETED: &str = " (deleted)";
const PROGRAM: &str = "/proc/self/exe";

/// What a module's file says of its functions; nothing if it cannot be read.
#[derive(Default)]
pub(super) struct Symbols(OnceCell<Option<Loader>>);

fn symbols(module: &Module) -> Option<&Loader> {
    let load = || {
        let symbols = Loader::new(file(&module.name)?).ok()?;
        is_same(&symbols, module).then_some(symbols)
    };
    module.symbols.0.get_or_init(load).as_ref()
}

/// What is on the disk may be another build, such as one that was copied over it, or the one that has
/// this path outside of a container. Its tables for unwinding are then hardly where they are in memory.
fn is_same(symbols: &Loader, module: &Module) -> bool {
    let there = symbols.get_section_range(b".eh_frame_hdr");
    let there = there.map(|section| section.begin..section.end);
    there == module.index.as_ref().map(|index| index.range.clone())
}

/// The file that a module was loaded from, while it can be had.
fn file(name: &str) -> Option<&str> {
    if name.ends_with(DELETED) {
        // The program's own file stays open to it.
        let program = fs::read_link(PROGRAM).ok()?;
        return (program.as_os_str() == name).then_some(PROGRAM);
    }
    name.starts_with('/').then_some(name)
}

/// The calls at an address; more than one where the compiler has merged some, the innermost first.
pub(super) fn frames(module: Option<&Module>, address: u64) -> Vec<Frame> {
    let bare = Frame {
        function: None,
        file: None,
        line: None,
        module: module.map(|module| module.name.clone()),
        offset: address.wrapping_sub(module.map_or(0, |module| module.bias)),
        inlined: false,
    };
    let mut frames = module
        .and_then(|module| described(module, &bare))
        .unwrap_or_default();
    match frames.last_mut() {
        Some(outermost) => outermost.inlined = false,
        None => frames.push(bare.clone()),
    }
    if let (Some(outermost), Some(module)) = (frames.last_mut(), module) {
        let named = outermost.function.take();
        outermost.function = named.or_else(|| exported(module, bare.offset));
    }
    frames
}

/// By the debug information.
fn described(module: &Module, bare: &Frame) -> Option<Vec<Frame>> {
    let mut calls = symbols(module)?.find_frames(bare.offset).ok()?;
    let mut frames = Vec::new();
    while let Some(call) = calls.next().ok()? {
        let name = call.function.as_ref().and_then(|it| it.demangle().ok());
        let (file, line) = call.location.map_or((None, None), |at| (at.file, at.line));
        frames.push(Frame {
            function: name.map(Cow::into_owned),
            file: file.map(str::to_owned),
            line,
            inlined: true,
            ..bare.clone()
        });
    }
    Some(frames)
}

/// By the table of symbols. What is there is the last one that begins before the address, which need
/// not be that of the function: a stripped program has hardly any.
fn exported(module: &Module, own: u64) -> Option<String> {
    let symbol = symbols(module)?.find_symbol_info(own)?;
    let begins = module.function_of(own)?;
    let name = (symbol.address() >= begins).then(|| symbol.name())?;
    Some(demangle_auto(name.into(), None).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::linux::{memory, modules};

    #[test]
    fn only_the_file_that_was_loaded_gives_names() {
        assert_eq!(file("/lib/here.so"), Some("/lib/here.so"));
        assert_eq!(file("/lib/replaced.so (deleted)"), None);
        assert_eq!(file("[vdso]"), None);
    }

    #[test]
    fn only_a_symbol_of_the_same_function_names_it() {
        let memory = memory::open().unwrap();
        let here = only_a_symbol_of_the_same_function_names_it as fn() as usize as u64;
        let modules = modules::load(&memory, &memory::mappings(), Vec::new());
        let mut modules = modules.into_iter();
        let mut module = modules.find(|it| it.range.contains(&here)).unwrap();
        let own = here - module.bias + 1;
        let name = exported(&module, own).unwrap();
        assert!(name.ends_with("names_it"), "{name}");

        // An index that says that a function begins just after the symbol.
        let section = module.index.as_mut().unwrap();
        section.range.start = own;
        section.bytes = vec![
            1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
        .into();
        assert_eq!(exported(&module, own), None);

        // That is not the file's own, had it been looked at only now.
        module.symbols = Symbols::default();
        assert!(symbols(&module).is_none());
    }
}
