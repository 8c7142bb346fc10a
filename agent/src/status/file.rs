//! The state file: where the running agent writes its status and `spothost status` reads it.

use std::{fs, io, path::Path, time::Duration};

use tokio::sync::watch;

use super::Status;
use crate::atomic_file::AtomicFile;

/// Changes within this time are written once; a reader never sees a half-written file.
const GATHER: Duration = Duration::from_millis(50);

/// A status larger than this is not one of ours.
const LARGEST: u64 = 4 << 20;

/// Writes every change of the status to `path` until the board is gone.
///
/// The file is replaced by rename and never synced: it describes a live process, and lies on a tmpfs.
pub async fn write_changes(path: &Path, mut status: watch::Receiver<Status>) {
    let mut complained = false;
    loop {
        let now = status.borrow_and_update().clone();
        match write(path, &now) {
            Ok(()) => complained = false,
            Err(error) if !complained => {
                complained = true;
                tracing::warn!(path = %path.display(), %error, "the state file cannot be written");
            }
            Err(_) => {}
        }
        if status.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Writes `status` to `path` at once.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, status: &Status) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(status).map_err(io::Error::other)?;
    AtomicFile::at(path).unsynced().write(&text)
}

/// Reads the status at `path`.
///
/// # Errors
/// What the file system says, or that the file is not a status.
pub fn read(path: &Path) -> io::Result<Status> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::other("the file is too large to be a status of spothost"));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Board, Part};

    #[test]
    fn status_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("status.json");
        let board = Board::new("www.example.org");
        board.place(Part::Package, &[]).kept("site.zip", vec!["_redirects:3".into()], Duration::from_secs(9));
        let status = board.watch().borrow().clone();
        write(&path, &status).expect("written");
        assert_eq!(read(&path).expect("read"), status);
    }

    #[test]
    fn file_that_is_not_a_status_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("status.json");
        for text in ["", "{}", "null", "\u{0}\u{1}", "{\"version\":3}"] {
            fs::write(&path, text).expect("written");
            assert!(read(&path).is_err(), "{text:?}");
        }
    }
}
