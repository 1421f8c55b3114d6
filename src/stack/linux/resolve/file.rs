//! Files that others may cut, replace or write anew at any moment.
//!
//! None is mapped: of a mapped file that is cut, the next look ends the process. What is read is
//! believed only as long as the system says that nobody has changed the file since it was opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::paged::Origin;

#[derive(Debug)]
pub(super) struct Source {
    file: File,
    opened_as: Identity,
}

/// What differs once a file has been written to, be it with its times set back.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Source> {
        let mut options = OpenOptions::new();
        // What a file names may be a pipe, which would be waited for.
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let opened_as = identity(&file)?;
        Ok(Source { file, opened_as })
    }

    pub(super) fn size(&self) -> u64 {
        self.opened_as.size
    }

    pub(super) fn is_unchanged(&self) -> bool {
        identity(&self.file).is_ok_and(|now| now == self.opened_as)
    }

    /// `None` if that is not in the file, or the file is not what was opened any more.
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

fn identity(file: &File) -> io::Result<Identity> {
    let told = file.metadata()?;
    Ok(Identity {
        device: told.dev(),
        inode: told.ino(),
        size: told.size(),
        modified: (told.mtime(), told.mtime_nsec()),
        changed: (told.ctime(), told.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_others_write_to_is_believed_no_more() {
        let path = std::env::temp_dir().join(format!("loopmon-file-{}", std::process::id()));
        fs::write(&path, "before").unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!(source.bytes(0, 6).as_deref(), Some(&b"before"[..]));
        assert_eq!(source.bytes(1, 6), None);
        assert_eq!(source.bytes(u64::MAX, 6), None);
        // Cut, and written anew with the same size, as a deploy by copy does.
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
