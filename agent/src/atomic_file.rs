//! A file that is replaced as a whole: written beside, then renamed (`rename(2)`), so that every reader finds the old content or
//! the new one.
//!
//! The name beside is fixed, unlike that of a temporary file: what a crash has left there is overwritten by the next write, so
//! that a host which crashes often does not fill its disk.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A file to be replaced, and how.
#[derive(Clone, Copy, Debug)]
pub struct AtomicFile<'a> {
    path: &'a Path,
    mode: u32,
    synced: bool,
}

impl<'a> AtomicFile<'a> {
    /// The file at `path`: readable as the umask says, and on the disk before it gets its name.
    pub fn at(path: &'a Path) -> AtomicFile<'a> {
        AtomicFile { path, mode: 0o666, synced: true }
    }

    /// Readable by its owner alone, from its first byte on.
    #[must_use]
    pub fn private(self) -> AtomicFile<'a> {
        AtomicFile { mode: 0o600, ..self }
    }

    /// Not synced: for what need not outlive a loss of power.
    #[must_use]
    pub fn unsynced(self) -> AtomicFile<'a> {
        AtomicFile { synced: false, ..self }
    }

    /// Replaces it by `content`.
    ///
    /// # Errors
    /// What the file system says; the file is as it was then.
    pub fn write(self, content: &[u8]) -> io::Result<()> {
        self.write_with(|file| file.write_all(content))
    }

    /// Replaces it by what `write` writes.
    ///
    /// # Errors
    /// What the file system or `write` says; the file is as it was then.
    pub fn write_with(self, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<()> {
        let beside = self.beside();
        // What a crash has left may be readable by others.
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&beside)?;
        // From here on the file beside is this writer's own.
        self.replace(file, &beside, write).inspect_err(|_| drop(fs::remove_file(&beside)))
    }

    fn replace(
        self,
        mut file: fs::File,
        beside: &Path,
        write: impl FnOnce(&mut fs::File) -> io::Result<()>,
    ) -> io::Result<()> {
        write(&mut file)?;
        if self.synced {
            file.sync_all()?;
        }
        fs::rename(beside, self.path)
    }

    fn beside(self) -> PathBuf {
        self.path.with_added_extension("new")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn file_has_the_old_content_or_the_new_one_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("note.json");
        AtomicFile::at(&path).write(b"one").expect("written");
        let failed = AtomicFile::at(&path).write_with(|file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("there"), b"one");
        AtomicFile::at(&path).unsynced().write(b"two").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn private_file_is_so_whatever_a_crash_has_left_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key.pem");
        fs::write(folder.path().join("key.pem.new"), "left").expect("written");
        AtomicFile::at(&path).private().write(b"key").expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).expect("there"), b"key");
    }
}
