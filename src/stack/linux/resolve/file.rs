//! Reads files that others may truncate, replace or overwrite at any moment.
//!
//! No file is mapped: reading a mapped file that was truncated kills the process. Bytes count only if the
//! file has not changed, by its metadata, since it was opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::paged::Origin;

#[derive(Debug)]
pub(super) struct Source {
    file: File,
    version: Version,
}

/// The metadata that change when a file is written to, even if its modification time is set back.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Source> {
        let mut options = OpenOptions::new();
        // The path, which another file names, may be one of a pipe. Opening that would block.
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let version = version(&file)?;
        Ok(Source { file, version })
    }

    pub(super) fn size(&self) -> u64 {
        self.version.size
    }

    pub(super) fn is_unchanged(&self) -> bool {
        version(&self.file).is_ok_and(|now| now == self.version)
    }

    /// Returns `None` if the range is not in the file, or the file has changed since it was opened.
    pub(super) fn bytes(&self, at: u64, size: u64) -> Option<Vec<u8>> {
        if at.checked_add(size)? > self.size() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.read(at, &mut bytes)?;
        Some(bytes)
    }
}

impl Origin for Source {
    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(bytes, at).ok()?;
        self.is_unchanged().then_some(())
    }
}

fn version(file: &File) -> io::Result<Version> {
    let metadata = file.metadata()?;
    Ok(Version {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_others_write_to_is_not_read_any_more() {
        let path = std::env::temp_dir().join(format!("loopmon-file-{}", std::process::id()));
        fs::write(&path, "before").unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!(source.bytes(0, 6).as_deref(), Some(&b"before"[..]));
        assert_eq!(source.bytes(1, 6), None);
        assert_eq!(source.bytes(u64::MAX, 6), None);
        // A kernel before 6.13 stamps files by its tick, which is 10 ms at most.
        std::thread::sleep(std::time::Duration::from_millis(20));
        // Overwritten with as many bytes, as a deploy by copy does.
        fs::write(&path, "after!").unwrap();
        assert!(!source.is_unchanged());
        assert_eq!(source.bytes(0, 6), None);
        let anew = Source::open(&path).unwrap();
        assert!(anew.is_unchanged());
        fs::remove_file(&path).unwrap();
        assert!(Source::open(&path).is_err());
        assert!(Source::open(Path::new("/dev/zero")).is_err());
    }
}
