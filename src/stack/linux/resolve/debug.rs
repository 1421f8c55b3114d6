//! Looks addresses up in debug information: the functions, files and lines of the calls there. What only
//! the symbol table knows is in `elf_file.rs`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use addr2line::gimli::{
    AbbreviationsCacheStrategy, DebugCuIndex, Dwarf, DwoId, Reader, SectionId, UnitIndex,
};
use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};

use super::budget::Budget;
use super::elf_file::ElfFile;
use super::file::Source;
use super::paged::Paged;
use super::window::Window;
use crate::stack::frame::Frame;

/// The sections that describe functions and lines. The others describe variables and types. Split files
/// (`.dwo`), and packages of them (`.dwp`), have those of which the name says so.
const NEEDED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// What the compiler was run for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compilation {
    /// The folder that it was run in.
    pub(super) folder: String,
    /// The file that it was given, perhaps relative to the folder.
    pub(super) file: String,
}

pub(super) struct Debug {
    context: Context<Window>,
    package: Option<Package>,
    /// The folders that the compiler was run in for split units, which do not have that themselves.
    folders: RefCell<HashMap<DwoId, Window>>,
    budget: Rc<Budget>,
}

impl Debug {
    /// Returns `None` if the file has no debug information, or that exceeds the budget.
    pub(super) fn read(file: &ElfFile, path: &Path, budget: &Rc<Budget>) -> Option<Debug> {
        file.section(SectionId::DebugInfo.name())?;
        let sections = Sections::open(file, false, |id| Some(id.name()), budget)?;
        let mut dwarf = sections.dwarf();
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
        Some(Debug {
            context: Context::from_dwarf(dwarf).ok()?,
            package: Package::read(path, budget),
            folders: RefCell::default(),
            budget: Rc::clone(budget),
        })
    }

    pub(super) fn is_unchanged(&self) -> bool {
        let package = self.package.as_ref();
        package.is_none_or(|package| package.file.is_unchanged())
    }

    /// Returns the calls at the offset of `unnamed`, which has their module, the innermost first.
    pub(super) fn calls_at(&self, unnamed: &Frame) -> Option<Vec<Frame>> {
        let mut calls = self.load(self.context.find_frames(unnamed.offset)).ok()?;
        let mut frames = Vec::new();
        while let Some(call) = calls.next().ok()? {
            let name = call.function.as_ref().and_then(|it| it.demangle().ok());
            let (file, line) = call.location.map_or((None, None), |at| (at.file, at.line));
            frames.push(Frame {
                function: name.map(|name| name.into_owned()),
                file: file.map(str::to_owned),
                line,
                inlined: true,
                ..unnamed.clone()
            });
        }
        if let Some(outermost) = frames.last_mut() {
            outermost.inlined = false;
        }
        Some(frames)
    }

    /// Returns what the code at an address was compiled for.
    pub(super) fn compilation_at(&self, address: u64) -> Option<Compilation> {
        let unit = self.load(self.context.find_dwarf_and_unit(address))?;
        let folders = self.folders.borrow();
        let of_split = || folders.get(&unit.dwo_id?);
        let text = |window: &Window| Some(window.to_string_lossy().ok()?.into_owned());
        Some(Compilation {
            folder: text(unit.comp_dir.as_ref().or_else(of_split)?)?,
            file: text(unit.name.as_ref()?)?,
        })
    }

    /// Completes a lookup, with the split units that it needs.
    fn load<L>(&self, mut lookup: LookupResult<L>) -> L::Output
    where
        L: LookupContinuation<Buf = Window>,
    {
        loop {
            match lookup {
                LookupResult::Output(output) => return output,
                LookupResult::Load { load, continuation } => {
                    lookup = continuation.resume(self.split_unit(&load));
                }
            }
        }
    }

    /// Reads a split unit, from the package or from its own file.
    #[allow(clippy::arc_with_non_send_sync, reason = "addr2line takes this type")]
    fn split_unit(&self, load: &SplitDwarfLoad<Window>) -> Option<Arc<Dwarf<Window>>> {
        let packaged = self.package.as_ref().and_then(|it| it.unit(load.dwo_id));
        let mut dwarf = match packaged {
            Some(dwarf) => dwarf,
            None => self.unit_file(load)?,
        };
        dwarf.make_dwo(&load.parent);
        let folder = load.comp_dir.clone().map(|folder| (load.dwo_id, folder));
        self.folders.borrow_mut().extend(folder);
        Some(Arc::new(dwarf))
    }

    fn unit_file(&self, load: &SplitDwarfLoad<Window>) -> Option<Dwarf<Window>> {
        let part = |window: &Window| {
            let bytes = window.to_slice().ok()?;
            Some(PathBuf::from(OsStr::from_bytes(&bytes)))
        };
        let build_folder = load.comp_dir.as_ref().and_then(part).unwrap_or_default();
        let path = build_folder.join(part(load.path.as_ref()?)?);
        let file = ElfFile::read(Source::open(&path).ok()?)?;
        // Read whole, as there may be more such files than can be open at once.
        let sections = Sections::open(&file, true, SectionId::dwo_name, &self.budget)?;
        let dwarf = sections.dwarf();
        let first = dwarf.units().next().ok()??;
        let is_same = dwarf.unit(first).ok()?.dwo_id == Some(load.dwo_id);
        is_same.then_some(dwarf)
    }
}

/// All split units of a program, in `<program>.dwp` next to it.
struct Package {
    file: ElfFile,
    index: UnitIndex<Window>,
    sections: Sections,
}

impl Package {
    fn read(path: &Path, budget: &Rc<Budget>) -> Option<Package> {
        let mut package = path.as_os_str().to_owned();
        package.push(".dwp");
        let file = ElfFile::read(Source::open(Path::new(&package)).ok()?)?;
        let index = file.section(SectionId::DebugCuIndex.dwo_name()?)?;
        let index = Window::from(file.open(index, false, budget)?);
        Some(Package {
            index: DebugCuIndex::from(index).index().ok()?,
            sections: Sections::open(&file, false, SectionId::dwo_name, budget)?,
            file,
        })
    }

    fn unit(&self, id: DwoId) -> Option<Dwarf<Window>> {
        let row = self.index.find(id.0)?;
        let parts: Vec<_> = self.index.sections(row).ok()?.collect();
        let of_unit = |(id, window): &(SectionId, Window)| {
            let mut parts = parts.iter();
            let of_unit = match parts.find(|part| part.section.section_id() == *id) {
                Some(part) => window.part(part.offset.into(), part.size.into())?,
                // All units share the strings.
                None if *id == SectionId::DebugStr => window.clone(),
                None => return None,
            };
            Some((*id, of_unit))
        };
        let of_unit = Sections {
            windows: self.sections.windows.iter().filter_map(of_unit).collect(),
            empty: self.sections.empty.clone(),
        };
        Some(of_unit.dwarf())
    }
}

/// The sections of one file or unit that are read.
struct Sections {
    windows: Vec<(SectionId, Window)>,
    /// Stands in for a section that is missing.
    empty: Window,
}

impl Sections {
    /// Checks the total size before anything is decompressed. `whole` reads the sections at once, so that
    /// the file can be closed.
    fn open(
        file: &ElfFile,
        whole: bool,
        name: impl Fn(SectionId) -> Option<&'static str>,
        budget: &Rc<Budget>,
    ) -> Option<Sections> {
        let present = |id: &SectionId| Some((*id, file.section(name(*id)?)?));
        let present: Vec<_> = NEEDED.iter().filter_map(present).collect();
        let total = present.iter().try_fold(0_u64, |total, (_, section)| {
            Some(total.saturating_add(file.memory_for(section, whole)?))
        })?;
        budget.take(total)?;
        budget.give_back(total);
        let mut windows = Vec::new();
        for (id, section) in present {
            windows.push((id, Window::from(file.open(section, whole, budget)?)));
        }
        let empty = Paged::whole(Vec::new(), budget);
        Some(Sections {
            windows,
            empty: Window::from(Rc::new(empty)),
        })
    }

    fn dwarf(&self) -> Dwarf<Window> {
        let of = |id| {
            let mut windows = self.windows.iter();
            let found = windows.find(|(other, _)| *other == id);
            Ok::<_, Infallible>(found.map_or(&self.empty, |(_, window)| window).clone())
        };
        let Ok(dwarf) = Dwarf::load(of);
        dwarf
    }
}
