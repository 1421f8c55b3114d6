//! Files that ask for more than they get: of the stack, and of memory.

use std::fs;
use std::path::PathBuf;

use super::super::symbols::unnamed;
use super::*;

/// The DWARF of one unit, which covers the addresses below `CODE`.
const CODE: u32 = 0x1_0000;

struct Section {
    name: &'static str,
    kind: u32,
    offset: Option<u64>,
    content: Vec<u8>,
}

fn section(name: &'static str, content: Vec<u8>) -> Section {
    Section {
        name,
        kind: 1,
        offset: None,
        content,
    }
}

/// Writes an ELF file with these sections, for as long as the result lives.
fn file(sections: Vec<Section>) -> TemporaryFile {
    const HEADER: usize = 64;
    let mut names = vec![0];
    let (mut content, mut headers) = (Vec::new(), vec![0; HEADER]);
    let all = sections.into_iter().chain([section(".names", Vec::new())]);
    for mut section in all {
        let name_at = u32::try_from(names.len()).unwrap();
        names.extend(section.name.bytes().chain([0]));
        if section.name == ".names" {
            section.content.clone_from(&names);
        }
        let at = (HEADER + content.len()) as u64;
        headers.extend([name_at, section.kind].map(u32::to_le_bytes).concat());
        let place = [
            0,
            0,
            section.offset.unwrap_or(at),
            section.content.len() as u64,
        ];
        headers.extend(place.map(u64::to_le_bytes).concat());
        headers.resize(headers.len().next_multiple_of(HEADER), 0);
        content.extend(section.content);
    }
    let count = u16::try_from(headers.len() / HEADER).unwrap();
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(HEADER, 0);
    header[40..48].copy_from_slice(&((HEADER + content.len()) as u64).to_le_bytes());
    for (at, number) in [(58, 64), (60, count), (62, count - 1)] {
        header[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    TemporaryFile::new(&[header, content, headers].concat())
}

struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(content: &[u8]) -> TemporaryFile {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default().replace("::", "-");
        let path = std::env::temp_dir().join(format!("loopmon-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        TemporaryFile(path)
    }

    fn open(&self) -> ElfFile {
        ElfFile::read(Source::open(&self.0).unwrap()).unwrap()
    }

    /// Looks an address up. Returns whether it is described, and whether that took too much.
    fn look_up(&self, address: u64, budget: &Rc<Budget>) -> (bool, bool) {
        let debug = Debug::read(&self.open(), &self.0, budget).unwrap();
        let calls = debug.calls_at(&unnamed(None, address));
        let is_described = calls.is_some_and(|calls| !calls.is_empty());
        (is_described, budget.is_exceeded())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// The sections of a unit with these abbreviations, from number 2 on, and these entries.
fn unit(abbreviations: &[u8], entries: &[u8], has_lines: bool) -> [Section; 2] {
    // DW_TAG_compile_unit with children: DW_AT_low_pc, DW_AT_high_pc, DW_AT_stmt_list.
    let lines: &[u8] = if has_lines { &[0x10, 0x17] } else { &[] };
    let table = [
        &[1, 0x11, 1, 0x11, 0x01, 0x12, 0x06],
        lines,
        &[0, 0],
        abbreviations,
        &[0],
    ];
    let offset: &[u8] = if has_lines { &[0; 4] } else { &[] };
    let body = [
        &[1],
        &[0; 8][..],
        &CODE.to_le_bytes(),
        offset,
        entries,
        &[0],
    ]
    .concat();
    // Version 5, a unit of compilation, addresses of 8 bytes.
    let rest = [&[5, 0, 1, 8, 0, 0, 0, 0], &body[..]].concat();
    let info = [&u32::try_from(rest.len()).unwrap().to_le_bytes(), &rest[..]].concat();
    [
        section(".debug_abbrev", table.concat()),
        section(".debug_info", info),
    ]
}

/// A function with so many calls that are inlined in each other.
fn nested(depth: usize) -> TemporaryFile {
    // DW_TAG_subprogram with DW_AT_low_pc and DW_AT_high_pc; DW_TAG_inlined_subroutine. Both have children.
    let abbreviations = [2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, 3, 0x1d, 1, 0, 0];
    let function = [&[2], &[0; 8][..], &CODE.to_le_bytes()].concat();
    let entries = [function, vec![3; depth], vec![0; depth + 1]].concat();
    file(unit(&abbreviations, &entries, false).into())
}

/// `addr2line` reads them recursively.
#[test]
fn calls_inlined_in_each_other_do_not_use_up_the_stack() {
    let budget = || Budget::new(MAX_DEBUG_INFORMATION, MAX_READS);
    assert_eq!(nested(100).look_up(16, &budget()), (true, false));
    assert_eq!(nested(1_000_000).look_up(16, &budget()), (false, true));
}

/// Each path is a text of its own in memory, but not in the file.
#[test]
fn one_long_path_for_many_files_is_within_the_budget() {
    const FILES: u8 = 100;
    const LONG: usize = 256 << 10;
    let lengths = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    let settings = [&[1, 1, 1, 0xfb, 14, 13], &lengths[..]].concat();
    // Folders and files have a DW_LNCT_path as DW_FORM_line_strp; there is no folder.
    let paths = [
        &[1, 1, 0x1f, 0, 1, 1, 0x1f, FILES],
        &vec![0; 4 * usize::from(FILES)][..],
    ]
    .concat();
    let header = [settings, paths].concat();
    // Sets the address, adds a row, advances by CODE, ends.
    let program = [&[0, 9, 2], &[0; 8][..], &[1, 2, 0x80, 0x80, 4, 0, 1, 1]].concat();
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    let rest = [&[5, 0, 8, 0], &length[..], &header, &program].concat();
    let lines = [&u32::try_from(rest.len()).unwrap().to_le_bytes(), &rest[..]].concat();
    let path = [vec![b'a'; LONG], vec![0]].concat();
    let sections = unit(&[], &[], true).into_iter().chain([
        section(".debug_line", lines),
        section(".debug_line_str", path),
    ]);
    let file = file(sections.collect());

    let plenty = Budget::new(u64::MAX, u64::MAX);
    assert_eq!(file.look_up(16, &plenty), (true, false));

    let budget = Budget::new(MAX_DEBUG_INFORMATION, 100_000);
    let memory = allocation_counter::measure(|| {
        assert_eq!(file.look_up(16, &budget), (false, true));
    });
    assert!(memory.bytes_max < 8 << 20, "{memory:?}");
}

#[test]
fn a_table_of_symbols_beyond_all_offsets_has_none() {
    const SYMBOLS: u32 = 2;
    let symbols = Section {
        name: ".symtab",
        kind: SYMBOLS,
        offset: Some(u64::MAX - 8),
        content: vec![0; 48],
    };
    let found = file(vec![symbols]).open().symbols_at(vec![16]);
    assert_eq!(found, [(16, None)]);
}
