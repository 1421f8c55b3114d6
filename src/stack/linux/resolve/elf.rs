//! Parses the headers of ELF images: where the code, the unwind tables and the sections are. It reads
//! nothing itself.
//!
//! All images have 64 bits and are little-endian, as all supported processors are.

use std::ops::Range;

/// The size of a file header.
pub(super) const HEADER_SIZE: u64 = 64;
/// The size of a program header, which describes one segment.
const SEGMENT_SIZE: u16 = 56;
/// The size of a section header.
const SECTION_SIZE: u16 = 64;

/// The bytes that a file header begins with.
const IDENTITY: &[u8] = &[0x7f, b'E', b'L', b'F', 2, 1];

/// PT_LOAD: a segment that is in memory.
const LOADED: u32 = 1;
/// PT_GNU_EH_FRAME: the segment of `.eh_frame_hdr`, which is an index into the unwind table.
const UNWIND_INDEX: u32 = 0x6474_e550;
/// PF_X: a segment of code.
const EXECUTABLE: u32 = 1;

/// The layout of an image, by its own addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) lowest: u64,
    pub(super) highest: u64,
    pub(super) code: Vec<Range<u64>>,
    pub(super) index: Option<Range<u64>>,
    pub(super) loaded: Vec<Range<u64>>,
}

impl Image {
    /// Parses the program headers. Returns `None` if no segment is loaded.
    pub(super) fn parse(program_headers: &[u8]) -> Option<Image> {
        const PAGE: u64 = 4096;
        let mut image = Image {
            lowest: u64::MAX,
            ..Image::default()
        };
        for segment in program_headers.chunks_exact(SEGMENT_SIZE.into()) {
            let start = u64_at(segment, 16)?;
            let size = u64_at(segment, 40)?;
            let range = start..start.checked_add(size)?;
            match u32_at(segment, 0)? {
                LOADED => {
                    image.lowest = image.lowest.min(start & !(PAGE - 1));
                    image.highest = image.highest.max(range.end);
                    let is_code = u32_at(segment, 4)? & EXECUTABLE != 0;
                    image.code.extend(is_code.then(|| range.clone()));
                    image.loaded.push(range);
                }
                UNWIND_INDEX => image.index = Some(range),
                _ => {}
            }
        }
        (!image.loaded.is_empty()).then_some(image)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct SectionHeader {
    /// The offset of the section's name among the names.
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) is_in_file: bool,
    pub(super) is_compressed: bool,
    /// The section's address in the image.
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    /// The index of a related section: of a symbol table, the section with its names.
    pub(super) link: usize,
}

impl SectionHeader {
    pub(super) fn parse_all(headers: &[u8]) -> Option<Vec<SectionHeader>> {
        const NOT_IN_FILE: u32 = 8;
        const COMPRESSED: u64 = 0x800;
        let entries = headers.chunks_exact(SECTION_SIZE.into());
        let sections = entries.map(|entry| {
            let kind = u32_at(entry, 4)?;
            Some(SectionHeader {
                name: u32_at(entry, 0)?,
                kind,
                is_in_file: kind != NOT_IN_FILE,
                is_compressed: u64_at(entry, 8)? & COMPRESSED != 0,
                address: u64_at(entry, 16)?,
                offset: u64_at(entry, 24)?,
                size: u64_at(entry, 32)?,
                link: u32_at(entry, 40)? as usize,
            })
        });
        sections.collect()
    }
}

/// Returns the offset of the program headers, and their size in bytes, by the header of their file.
pub(super) fn program_headers(header: &[u8]) -> Option<(u64, u64)> {
    table(header, u64_at(header, 32)?, 54, SEGMENT_SIZE)
}

/// Returns the offset of the section headers, and their size in bytes, by the header of their file.
pub(super) fn section_headers(header: &[u8]) -> Option<(u64, u64)> {
    table(header, u64_at(header, 40)?, 58, SECTION_SIZE)
}

/// Returns the index of the section with the names of all sections.
pub(super) fn names_section(header: &[u8]) -> Option<usize> {
    Some(u16_at(header, 62)?.into())
}

/// The header has the size of an entry at `described_at`, and then the number of entries.
fn table(header: &[u8], at: u64, described_at: usize, entry_size: u16) -> Option<(u64, u64)> {
    let is_known = header.starts_with(IDENTITY) && u16_at(header, described_at)? == entry_size;
    let entries = u16_at(header, described_at + 2)?;
    is_known.then_some((at, u64::from(entries) * u64::from(entry_size)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(chunk(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(chunk(bytes, at)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(chunk(bytes, at)?))
}

pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the header of a file with this many segments.
    fn header(segments: u16) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_SIZE as usize];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&segments.to_le_bytes());
        bytes
    }

    fn segment(kind: u32, flags: u32, start: u64, size: u64) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
        for field in [0, start, start, size, size, 4096] {
            bytes.extend(field.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn finds_code_and_tables() {
        assert_eq!(program_headers(&header(3)), Some((64, 3 * 56)));
        let table = [
            segment(LOADED, 4, 0x40_0010, 0x100),
            segment(LOADED, 5, 0x40_1000, 0x200),
            segment(UNWIND_INDEX, 4, 0x40_0040, 0x20),
        ]
        .concat();
        assert_eq!(
            Image::parse(&table),
            Some(Image {
                lowest: 0x40_0000,
                highest: 0x40_1200,
                code: vec![Range {
                    start: 0x40_1000,
                    end: 0x40_1200,
                }],
                index: Some(0x40_0040..0x40_0060),
                loaded: [0x40_0010..0x40_0110, 0x40_1000..0x40_1200].to_vec(),
            })
        );
        assert_eq!(Image::parse(&[]), None);
        assert_eq!(Image::parse(&segment(LOADED, 5, u64::MAX, 2)), None);
        assert_eq!(program_headers(b"\x7fELF\x01"), None);
    }

    #[test]
    fn finds_sections() {
        let mut header = header(0);
        header[40..48].copy_from_slice(&640_u64.to_le_bytes());
        header[58..60].copy_from_slice(&64_u16.to_le_bytes());
        header[60..62].copy_from_slice(&2_u16.to_le_bytes());
        header[62..64].copy_from_slice(&1_u16.to_le_bytes());
        assert_eq!(section_headers(&header), Some((640, 128)));
        assert_eq!(names_section(&header), Some(1));
        let mut entry = [7_u32, 1].map(u32::to_le_bytes).concat();
        for field in [0x800_u64, 0x1000, 0x200, 0x30, 5] {
            entry.extend(field.to_le_bytes());
        }
        entry.resize(64, 0);
        let section = SectionHeader {
            name: 7,
            kind: 1,
            is_in_file: true,
            is_compressed: true,
            address: 0x1000,
            offset: 0x200,
            size: 0x30,
            link: 5,
        };
        assert_eq!(SectionHeader::parse_all(&entry), Some(vec![section]));
        header[58] = 63;
        assert_eq!(section_headers(&header), None);
    }
}
