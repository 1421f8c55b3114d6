//! What debug information says of an address: functions, files and lines.

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

/// The sections that tell of functions and lines. The rest tells of variables and types.
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

/// The same in files of their own.
const NEEDED_SPLIT: [SectionId; 6] = [
    SectionId::DebugAbbrev,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// One of the calls at an address.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

pub(super) struct Debug {
    context: Context<Window>,
    package: Option<Package>,
    budget: Rc<Budget>,
}

impl Debug {
    /// `None` if there is none, or it is beyond the budget.
    pub(super) fn read(file: &ElfFile, path: &Path, budget: &Rc<Budget>) -> Option<Debug> {
        file.section(SectionId::DebugInfo.name())?;
        let sections = Sections::open(file, &NEEDED, false, |id| Some(id.name()), budget)?;
        let mut dwarf = sections.dwarf();
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
        Some(Debug {
            context: Context::from_dwarf(dwarf).ok()?,
            package: Package::read(path, budget),
            budget: Rc::clone(budget),
        })
    }

    pub(super) fn is_unchanged(&self) -> bool {
        let package = self.package.as_ref();
        package.is_none_or(|package| package.file.is_unchanged())
    }

    /// The calls at an address, the innermost first.
    pub(super) fn calls_at(&self, address: u64) -> Option<Vec<Described>> {
        let mut lookup = self.context.find_frames(address);
        let mut calls = loop {
            match lookup {
                LookupResult::Output(calls) => break calls.ok()?,
                LookupResult::Load { load, continuation } => {
                    lookup = continuation.resume(self.split(&load));
                }
            }
        };
        let mut described = Vec::new();
        while let Some(call) = calls.next().ok()? {
            let name = call.function.as_ref().and_then(|it| it.demangle().ok());
            let (file, line) = call.location.map_or((None, None), |at| (at.file, at.line));
            described.push(Described {
                function: name.map(|name| name.into_owned()),
                file: file.map(str::to_owned),
                line,
            });
        }
        Some(described)
    }

    /// A unit that is in a file of its own, or in a package of them.
    #[allow(
        clippy::arc_with_non_send_sync,
        reason = "that is what the lookup takes"
    )]
    fn split(&self, load: &SplitDwarfLoad<Window>) -> Option<Arc<Dwarf<Window>>> {
        let packaged = self.package.as_ref().and_then(|it| it.unit(load.dwo_id));
        let mut dwarf = match packaged {
            Some(dwarf) => dwarf,
            None => self.alone(load)?,
        };
        dwarf.make_dwo(&load.parent);
        Some(Arc::new(dwarf))
    }

    fn alone(&self, load: &SplitDwarfLoad<Window>) -> Option<Dwarf<Window>> {
        let part = |window: &Window| {
            let bytes = window.to_slice().ok()?;
            Some(PathBuf::from(OsStr::from_bytes(&bytes)))
        };
        let built_in = load.comp_dir.as_ref().and_then(part).unwrap_or_default();
        let path = built_in.join(part(load.path.as_ref()?)?);
        let file = ElfFile::read(Source::open(&path).ok()?)?;
        // There may be many such files, more than can be open at once.
        let sections =
            Sections::open(&file, &NEEDED_SPLIT, true, |id| id.dwo_name(), &self.budget)?;
        let dwarf = sections.dwarf();
        let first = dwarf.units().next().ok()??;
        let is_same = dwarf.unit(first).ok()?.dwo_id == Some(load.dwo_id);
        is_same.then_some(dwarf)
    }
}

/// The split units of a whole program: `<program>.dwp`, next to it.
struct Package {
    file: ElfFile,
    index: UnitIndex<Window>,
    sections: Sections,
}

impl Package {
    fn read(path: &Path, budget: &Rc<Budget>) -> Option<Package> {
        let mut extension = path.extension().map(OsStr::to_os_string);
        let extension = match &mut extension {
            Some(own) => {
                own.push(".dwp");
                own.as_os_str()
            }
            None => OsStr::new("dwp"),
        };
        let file = ElfFile::read(Source::open(&path.with_extension(extension)).ok()?)?;
        let index = file.section(SectionId::DebugCuIndex.dwo_name()?)?;
        let index = Window::from(file.open(index, false, budget)?);
        Some(Package {
            index: DebugCuIndex::from(index).index().ok()?,
            sections: Sections::open(&file, &NEEDED_SPLIT, false, |id| id.dwo_name(), budget)?,
            file,
        })
    }

    fn unit(&self, id: DwoId) -> Option<Dwarf<Window>> {
        let row = self.index.find(id.0)?;
        let parts: Vec<_> = self.index.sections(row).ok()?.collect();
        let own = Sections {
            windows: self
                .sections
                .windows
                .iter()
                .filter_map(|(id, window)| {
                    let mut parts = parts.iter();
                    let part = parts.find(|part| part.section.section_id() == *id);
                    let own = match part {
                        Some(part) => window.part(part.offset.into(), part.size.into())?,
                        // What all share.
                        None if *id == SectionId::DebugStr => window.clone(),
                        None => return None,
                    };
                    Some((*id, own))
                })
                .collect(),
            empty: self.sections.empty.clone(),
        };
        Some(own.dwarf())
    }
}

struct Sections {
    windows: Vec<(SectionId, Window)>,
    empty: Window,
}

impl Sections {
    /// What it takes is summed up before anything is unpacked. If `whole`, the file is not needed any
    /// more.
    fn open(
        file: &ElfFile,
        needed: &[SectionId],
        whole: bool,
        name: impl Fn(SectionId) -> Option<&'static str>,
        budget: &Rc<Budget>,
    ) -> Option<Sections> {
        let there = |id: &SectionId| Some((*id, file.section(name(*id)?)?));
        let there: Vec<_> = needed.iter().filter_map(there).collect();
        let mut room = 0_u64;
        for (_, section) in &there {
            room = room.saturating_add(file.room_for(section, whole)?);
        }
        budget.take(room)?;
        budget.give_back(room);
        let mut windows = Vec::new();
        for (id, section) in there {
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
            let found = windows.find(|(own, _)| *own == id);
            Ok::<_, Infallible>(found.map_or(&self.empty, |(_, window)| window).clone())
        };
        let Ok(dwarf) = Dwarf::load(of);
        dwarf
    }
}
