//! Decompresses sections that the linker has compressed. Their sizes are not trusted.

use std::io::Read;

use miniz_oxide::inflate::decompress_slice_iter_to_slice;
use ruzstd::decoding::StreamingDecoder;

use super::elf::chunk;

/// The header of a compressed section.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compressed {
    format: Format,
    /// The decompressed size that the header states, in bytes.
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Zlib,
    Zstd,
}

impl Compressed {
    pub(super) const HEADER_SIZE: u64 = 24;

    pub(super) fn parse(header: &[u8]) -> Option<Compressed> {
        let format = match u32::from_le_bytes(chunk(header, 0)?) {
            1 => Format::Zlib,
            2 => Format::Zstd,
            _ => return None,
        };
        let size = u64::from_le_bytes(chunk(header, 8)?);
        Some(Compressed { format, size })
    }

    /// Returns how much memory it takes to decompress it, from this many bytes.
    pub(super) fn memory(&self, from: u64) -> Option<u64> {
        let to = match self.format {
            Format::Zlib => self.size,
            // The decoder keeps a copy of its output, which later parts refer to.
            Format::Zstd => self.size.checked_mul(2)?,
        };
        from.checked_add(to)
    }
}

/// Returns `None` if the content is corrupt, or has another size than stated.
pub(super) fn decompress(compressed: &Compressed, bytes: &[u8]) -> Option<Vec<u8>> {
    let size = usize::try_from(compressed.size).ok()?;
    match compressed.format {
        Format::Zlib => {
            let mut output = vec![0; size];
            let input = std::iter::once(bytes);
            let written = decompress_slice_iter_to_slice(&mut output, input, true, false).ok()?;
            (written == size).then_some(output)
        }
        Format::Zstd => {
            if zstd_window(bytes)? > compressed.size.max(LEAST_WINDOW) {
                return None;
            }
            let mut output = vec![0; size];
            let mut decoder = StreamingDecoder::new(bytes).ok()?;
            decoder.read_exact(&mut output).ok()?;
            Some(output)
        }
    }
}

/// The window that every decoder must support, in bytes.
const LEAST_WINDOW: u64 = 8 << 20;

/// Returns the size of the window, in bytes: how much of its output the decoder keeps to refer to. The
/// decoder allocates it before it has seen any content.
fn zstd_window(bytes: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    let [descriptor, rest @ ..] = bytes.strip_prefix(&MAGIC)? else {
        return None;
    };
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
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

    fn compressed(format: u32, size: u64) -> Compressed {
        let header = [u64::from(format), size, 1].map(u64::to_le_bytes).concat();
        Compressed::parse(&header).unwrap()
    }

    #[test]
    fn content_of_another_size_than_stated_is_refused() {
        let text = b"as a linker packs it, as a linker packs it, as a linker packs it";
        let small = miniz_oxide::deflate::compress_to_vec_zlib(text, 6);
        let size = text.len() as u64;
        assert_eq!(
            decompress(&compressed(1, size), &small).as_deref(),
            Some(&text[..])
        );
        assert_eq!(decompress(&compressed(1, size - 1), &small), None);
        assert_eq!(decompress(&compressed(1, size + 1), &small), None);
        assert_eq!(decompress(&compressed(1, size), &small[..20]), None);
        assert_eq!(decompress(&compressed(2, size), &small), None);
        assert_eq!(Compressed::parse(&[3; 24]), None);
        assert_eq!(compressed(2, u64::MAX).memory(0), None);
        assert_eq!(compressed(1, u64::MAX).memory(1), None);
    }

    #[test]
    fn decompresses_zstd_and_trusts_no_window() {
        // A frame of one block that is stored uncompressed.
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
        assert_eq!(
            decompress(&compressed(2, 6), &stored).as_deref(),
            Some(&text[..])
        );
        assert_eq!(decompress(&compressed(2, 7), &stored), None);
        // One that asks for terabytes.
        let greedy = frame(&[0, 0xff], text);
        assert_eq!(zstd_window(&greedy), Some((1 << 41) + (7 << 38)));
        assert_eq!(decompress(&compressed(2, 6), &greedy), None);
    }
}
