//! What of an ELF image in memory says where its code and its unwind tables are.
//!
//! 64 bits and little-endian, as all the processors are of which stacks are taken.

use std::ops::Range;

/// The size of a file header.
pub(super) const HEADER_SIZE: u64 = 64;
/// The size of what describes one segment.
const SEGMENT_SIZE: u64 = 56;

/// Segments that are in memory.
const LOADED: u32 = 1;
/// `.eh_frame_hdr`: an index into the table for unwinding, and where that is.
const UNWIND_INDEX: u32 = 0x6474_e550;
const EXECUTABLE: u32 = 1;

/// A file header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the segments are described.
    pub(super) segments_at: u64,
    segments: u16,
}

/// Where things are, by the image's own addresses.
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
        const IDENTITY: &[u8] = &[0x7f, b'E', b'L', b'F', 2, 1];
        let header = Header {
            segments_at: u64::from_le_bytes(chunk(bytes, 32)?),
            segments: u16::from_le_bytes(chunk(bytes, 56)?),
        };
        let size = u16::from_le_bytes(chunk(bytes, 54)?);
        (bytes.starts_with(IDENTITY) && u64::from(size) == SEGMENT_SIZE).then_some(header)
    }

    pub(super) fn segments_size(&self) -> u64 {
        u64::from(self.segments) * SEGMENT_SIZE
    }

    /// `table` describes the segments. `None` if none is loaded.
    pub(super) fn image(&self, table: &[u8]) -> Option<Image> {
        const PAGE: u64 = 4096;
        let mut image = Image {
            lowest: u64::MAX,
            ..Image::default()
        };
        for segment in table.chunks_exact(SEGMENT_SIZE as usize) {
            let start = u64::from_le_bytes(chunk(segment, 16)?);
            let size = u64::from_le_bytes(chunk(segment, 40)?);
            let range = start..start.checked_add(size)?;
            match u32::from_le_bytes(chunk(segment, 0)?) {
                LOADED => {
                    image.lowest = image.lowest.min(start & !(PAGE - 1));
                    image.highest = image.highest.max(range.end);
                    if u32::from_le_bytes(chunk(segment, 4)?) & EXECUTABLE != 0 {
                        image.code.push(range.clone());
                    }
                    image.loaded.push(range);
                }
                UNWIND_INDEX => image.index = Some(range),
                _ => {}
            }
        }
        (!image.loaded.is_empty()).then_some(image)
    }
}

/// Where the table for unwinding begins, from its index, which is at `index_at`.
pub(super) fn frames_at(index_at: u64, index: &[u8]) -> Option<u64> {
    // Of the ways there are to write it down, linkers use one: relative to where it is written.
    const VERSION: u8 = 1;
    const RELATIVE_32: u8 = 0x1b;
    const AT: usize = 4;
    let &[VERSION, RELATIVE_32, ..] = index else {
        return None;
    };
    let distance = i32::from_le_bytes(chunk(index, AT)?);
    index_at
        .wrapping_add(AT as u64)
        .checked_add_signed(distance.into())
}

/// The beginning of the function that an address is in, from the index.
pub(super) fn function_at(index_at: u64, index: &[u8], address: u64) -> Option<u64> {
    const VERSION: u8 = 1;
    const COUNT_32: u8 = 0x03;
    const RELATIVE_TO_INDEX_32: u8 = 0x3b;
    const ENTRIES_AT: usize = 12;
    const ENTRY_SIZE: usize = 8;
    let &[VERSION, _, COUNT_32, RELATIVE_TO_INDEX_32, ..] = index else {
        return None;
    };
    let count = u32::from_le_bytes(chunk(index, 8)?) as usize;
    let start = |entry: usize| {
        let distance = i32::from_le_bytes(chunk(index, ENTRIES_AT + entry * ENTRY_SIZE)?);
        index_at.checked_add_signed(distance.into())
    };
    let (mut before, mut after) = (0, count.min(index.len() / ENTRY_SIZE));
    while before < after {
        let middle = before.midpoint(after);
        if start(middle)? <= address {
            before = middle + 1;
        } else {
            after = middle;
        }
    }
    start(before.checked_sub(1)?)
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file header that tells of `segments` segments.
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
    fn finds_the_table_and_the_function_from_the_index() {
        let at = 0x1000;
        let mut index = vec![1, 0x1b, 0x03, 0x3b];
        index.extend((-0x204_i32).to_le_bytes());
        index.extend(3_u32.to_le_bytes());
        for (function, entry) in [(-0x100_i32, 0_i32), (0x40, 0), (0x80, 0)] {
            index.extend(function.to_le_bytes());
            index.extend(entry.to_le_bytes());
        }
        assert_eq!(frames_at(at, &index), Some(0xe00));
        for (address, function) in [
            (0xeff, None),
            (0xf00, Some(0xf00)),
            (0x103f, Some(0xf00)),
            (0x1040, Some(0x1040)),
            (0xffff, Some(0x1080)),
        ] {
            assert_eq!(function_at(at, &index, address), function, "{address:#x}");
        }
        assert_eq!(function_at(at, &index[..14], 0x1040), None);
        assert_eq!(frames_at(at, &[1, 0x1c]), None);
        assert_eq!(frames_at(at, &[]), None);
    }
}
