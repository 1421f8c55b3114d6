//! Reads the memory of this process, and lists what is mapped into it.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::paged::Origin;

/// The memory of this process, from `/proc/self/mem`.
#[derive(Debug)]
pub(super) struct Memory(pub(super) File);

impl Origin for Memory {
    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(bytes, at).ok()
    }
}

/// A line of `/proc/self/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    pub(super) executable: bool,
    /// The offset in the file at which the mapping begins.
    pub(super) offset: u64,
    /// The inode of the file, which tells a file from its replacement at the same path.
    pub(super) inode: u64,
    /// The path of the file, a name in brackets, or nothing.
    pub(super) name: String,
}

pub(super) fn mappings() -> Vec<Mapping> {
    // A path may be no UTF-8.
    let text = fs::read("/proc/self/maps").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(mapping).collect()
}

/// `<start>-<end> rwxp <offset> <device> <inode>      <name>`
pub(super) fn mapping(line: &str) -> Option<Mapping> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = hex(fields.next()?)?;
    let inode = fields.nth(1)?.parse().ok()?;
    let name = fields.next().unwrap_or_default().trim_start();
    Some(Mapping {
        range: hex(start)?..hex(end)?,
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        offset,
        inode,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mappings() {
        let line = "7f00-7fff r-xp 00002000 fe:00 247030                     /a path/with blanks";
        assert_eq!(
            mapping(line),
            Some(Mapping {
                range: 0x7f00..0x7fff,
                executable: true,
                offset: 0x2000,
                inode: 247_030,
                name: "/a path/with blanks".to_owned(),
            })
        );
        let nameless = mapping("7f00-7fff rw-p 00000000 00:00 0 ").unwrap();
        assert!(nameless.name.is_empty() && !nameless.executable);
        assert_eq!(mapping("nonsense"), None);
        let all = mappings();
        assert!(all.iter().any(|mapping| mapping.name == "[vdso]"));
    }
}
