//! Parses the headers of ELF images: where the code, the unwind tables and the sections are. It reads
//! nothing itself.
//!
//! All images have 64 bits and are little-endian, as all supported processors are.

use std::ops::Range;

/// The size of a file header.
pub(super) const HEADER_SIZE: u64 = 64;
/// The size of a program header, which describes one segment.
const SEGMENT_SIZE: u64 = 56;

/// The bytes that a file header begins with.
const IDENTITY: &[u8] = &[0x7f, b'E', b'L', b'F', 2, 1];

/// PT_LOAD: a segment that is in memory.
const LOADED: u32 = 1;
/// PT_GNU_EH_FRAME: the segment of `.eh_frame_hdr`, which is an index into the unwind table.
const UNWIND_INDEX: u32 = 0x6474_e550;
/// PF_X: a segment of code.
const EXECUTABLE: u32 = 1;

/// A file header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The offset of the program headers.
    pub(super) segments_at: u64,
    segments: u16,
}

/// The layout of an image, by its own addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) lowest: u64,
    pub(super) highest: u64,
    pub(super) code: Vec<Range<u64>>,
    pub(super) index: Option<Range<u64>>,
    pub(super) loaded: Vec<Range<u64>>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        let header = Header {
            segments_at: u64_at(bytes, 32)?,
            segments: u16_at(bytes, 56)?,
        };
        let size = u16_at(bytes, 54)?;
        (bytes.starts_with(IDENTITY) && u64::from(size) == SEGMENT_SIZE).then_some(header)
    }

    pub(super) fn segments_size(&self) -> u64 {
        u64::from(self.segments) * SEGMENT_SIZE
    }

    /// Parses the program headers. Returns `None` if no segment is loaded.
    pub(super) fn image(&self, table: &[u8]) -> Option<Image> {
        const PAGE: u64 = 4096;
        let mut image = Image {
            lowest: u64::MAX,
            ..Image::default()
        };
        for segment in table.chunks_exact(SEGMENT_SIZE as usize) {
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

/// Where a file's section headers are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SectionTable {
    pub(super) at: u64,
    count: u16,
    /// The index of the section with the names of all sections.
    pub(super) names: usize,
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

impl SectionTable {
    const ENTRY_SIZE: u16 = 64;

    pub(super) fn parse(header: &[u8]) -> Option<SectionTable> {
        if !header.starts_with(IDENTITY) || u16_at(header, 58)? != SectionTable::ENTRY_SIZE {
            return None;
        }
        Some(SectionTable {
            at: u64_at(header, 40)?,
            count: u16_at(header, 60)?,
            names: u16_at(header, 62)?.into(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        u64::from(self.count) * u64::from(SectionTable::ENTRY_SIZE)
    }

    pub(super) fn sections(&self, table: &[u8]) -> Option<Vec<SectionHeader>> {
        const NOT_IN_FILE: u32 = 8;
        const COMPRESSED: u64 = 0x800;
        let entries = table.chunks_exact(SectionTable::ENTRY_SIZE.into());
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
        let header = Header::parse(&header(3)).unwrap();
        assert_eq!((header.segments_at, header.segments_size()), (64, 3 * 56));
        let table = [
            segment(LOADED, 4, 0x40_0010, 0x100),
            segment(LOADED, 5, 0x40_1000, 0x200),
            segment(UNWIND_INDEX, 4, 0x40_0040, 0x20),
        ]
        .concat();
        assert_eq!(
            header.image(&table),
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
        assert_eq!(header.image(&[]), None);
        assert_eq!(header.image(&segment(LOADED, 5, u64::MAX, 2)), None);
        assert_eq!(Header::parse(b"\x7fELF\x01"), None);
    }

    #[test]
    fn finds_sections() {
        let mut header = header(0);
        header[40..48].copy_from_slice(&640_u64.to_le_bytes());
        header[58..60].copy_from_slice(&64_u16.to_le_bytes());
        header[60..62].copy_from_slice(&2_u16.to_le_bytes());
        header[62..64].copy_from_slice(&1_u16.to_le_bytes());
        let table = SectionTable::parse(&header).unwrap();
        assert_eq!((table.at, table.size(), table.names), (640, 128, 1));
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
        assert_eq!(table.sections(&entry), Some(vec![section]));
        header[58] = 63;
        assert_eq!(SectionTable::parse(&header), None);
    }
}
