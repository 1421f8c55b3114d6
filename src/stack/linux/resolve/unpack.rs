//! Sections that the linker has packed.

use std::io::Read;

use miniz_oxide::inflate::decompress_slice_iter_to_slice;
use ruzstd::decoding::StreamingDecoder;

use super::elf::chunk;

/// What a packed section says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed {
    way: Way,
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Zlib,
    Zstd,
}

impl Packed {
    pub(super) const HEADER_SIZE: u64 = 24;

    pub(super) fn parse(header: &[u8]) -> Option<Packed> {
        let way = match u32::from_le_bytes(chunk(header, 0)?) {
            1 => Way::Zlib,
            2 => Way::Zstd,
            _ => return None,
        };
        let size = u64::from_le_bytes(chunk(header, 8)?);
        Some(Packed { way, size })
    }

    /// How much memory it takes to unpack it, from so many bytes.
    pub(super) fn room(&self, from: u64) -> Option<u64> {
        let twice = match self.way {
            Way::Zlib => self.size,
            // The decoder keeps what it has made, which later parts refer to.
            Way::Zstd => self.size.checked_mul(2)?,
        };
        from.checked_add(twice)
    }
}

/// `None` if it is not what it says.
pub(super) fn unpack(packed: &Packed, bytes: &[u8]) -> Option<Vec<u8>> {
    let size = usize::try_from(packed.size).ok()?;
    match packed.way {
        Way::Zlib => {
            let mut unpacked = vec![0; size];
            let input = std::iter::once(bytes);
            let made = decompress_slice_iter_to_slice(&mut unpacked, input, true, false).ok()?;
            (made == size).then_some(unpacked)
        }
        Way::Zstd => {
            if zstd_window(bytes)? > packed.size.max(LEAST_WINDOW) {
                return None;
            }
            let mut unpacked = vec![0; size];
            let mut decoder = StreamingDecoder::new(bytes).ok()?;
            decoder.read_exact(&mut unpacked).ok()?;
            Some(unpacked)
        }
    }
}

/// Every decoder has to bear this much.
const LEAST_WINDOW: u64 = 8 << 20;

/// How much the decoder makes room for before it has seen anything: of what it has unpacked, how much
/// it keeps to refer to.
fn zstd_window(bytes: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    let [descriptor, rest @ ..] = bytes.strip_prefix(&MAGIC)? else {
        return None;
    };
    let is_whole = descriptor & 0x20 != 0;
    if !is_whole {
        let window = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    let rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*rest.first()?),
        1 => u64::from(u16::from_le_bytes(chunk(rest, 0)?)) + 256,
        2 => u64::from(u32::from_le_bytes(chunk(rest, 0)?)),
        _ => u64::from_le_bytes(chunk(rest, 0)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(way: u32, size: u64) -> Packed {
        let header = [u64::from(way), size, 1].map(u64::to_le_bytes).concat();
        Packed::parse(&header).unwrap()
    }

    #[test]
    fn what_is_larger_or_smaller_than_it_says_is_nothing() {
        let text = b"as a linker packs it, as a linker packs it, as a linker packs it";
        let small = miniz_oxide::deflate::compress_to_vec_zlib(text, 6);
        let size = text.len() as u64;
        assert_eq!(unpack(&packed(1, size), &small).as_deref(), Some(&text[..]));
        assert_eq!(unpack(&packed(1, size - 1), &small), None);
        assert_eq!(unpack(&packed(1, size + 1), &small), None);
        assert_eq!(unpack(&packed(1, size), &small[..20]), None);
        assert_eq!(unpack(&packed(2, size), &small), None);
        assert_eq!(Packed::parse(&[3; 24]), None);
        assert_eq!(packed(2, u64::MAX).room(0), None);
        assert_eq!(packed(1, u64::MAX).room(1), None);
    }

    #[test]
    fn unpacks_zstd_and_believes_no_window() {
        // A frame of one block that is stored as it is.
        let frame = |descriptor: &[u8], text: &[u8]| {
            let block = (text.len() as u32) << 3 | 1;
            [
                &0xfd2f_b528_u32.to_le_bytes(),
                descriptor,
                &block.to_le_bytes()[..3],
                text,
            ]
            .concat()
        };
        let text = b"stored";
        let stored = frame(&[0x20, text.len() as u8], text);
        assert_eq!(zstd_window(&stored), Some(6));
        assert_eq!(unpack(&packed(2, 6), &stored).as_deref(), Some(&text[..]));
        assert_eq!(unpack(&packed(2, 7), &stored), None);
        // One that asks for terabytes.
        let greedy = frame(&[0, 0xff], text);
        assert_eq!(zstd_window(&greedy), Some((1 << 41) + (7 << 38)));
        assert_eq!(unpack(&packed(2, 6), &greedy), None);
    }
}
