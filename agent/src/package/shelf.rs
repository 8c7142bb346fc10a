//! The last good package on disk, from which a restarted host serves at once, also while S3 is down.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use spothost_server::{PackageLimits, Site};

use super::{Package, Release};
use crate::fault::Fault;

const NOTE: &str = "last-good.json";

/// A folder with the last good package and a note of what it is.
///
/// A package is written beside, synced, renamed, and only then noted: whenever the process or the machine dies, the
/// note names a whole package.
#[derive(Clone)]
pub struct Shelf {
    folder: PathBuf,
    /// Where its packages are published: a host whose configuration now names another place does not serve them.
    source: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    source: String,
    release: Release,
    file: String,
}

impl Shelf {
    /// The shelf in `folder`, which is made when it is needed, for packages that are published at `source`.
    pub fn new(folder: PathBuf, source: String) -> Shelf {
        Shelf { folder, source }
    }

    /// The last good package, if there is one and it can still be opened.
    pub async fn last_good(&self) -> Option<Package> {
        let shelf = self.clone();
        match tokio::task::spawn_blocking(move || shelf.read()).await {
            Ok(Ok(package)) => package,
            Ok(Err(error)) => {
                tracing::warn!(%error, folder = %self.folder.display(), "the last good package cannot be used");
                None
            }
            Err(_) => None,
        }
    }

    /// Where the next package is written to.
    pub(super) fn incoming(&self) -> Result<PathBuf, Fault> {
        fs::create_dir_all(&self.folder).map_err(|error| self.fault(&error))?;
        Ok(self.folder.join("incoming.zip"))
    }

    /// Makes `incoming`, which is verified and synced, the last good package, and says where it lies now.
    pub(super) async fn put(&self, incoming: PathBuf, release: Release) -> Result<PathBuf, Fault> {
        let shelf = self.clone();
        let put = tokio::task::spawn_blocking(move || shelf.write(&incoming, release)).await;
        put.map_err(|error| Fault::retry("keeping the package", error))?.map_err(|error| self.fault(&error))
    }

    fn write(&self, incoming: &Path, release: Release) -> io::Result<PathBuf> {
        let file = file_name(&release);
        let path = self.folder.join(&file);
        fs::rename(incoming, &path)?;
        // What cannot be noted is not kept either: it would take the room that the next try needs.
        self.note(&file, release).inspect_err(|_| drop(fs::remove_file(&path)))?;
        fs::File::open(&self.folder)?.sync_all()?;
        self.sweep(&file);
        Ok(path)
    }

    fn note(&self, file: &str, release: Release) -> io::Result<()> {
        let file = file.to_owned();
        let note = serde_json::to_vec_pretty(&Note { source: self.source.clone(), release, file })?;
        let beside = self.folder.join("last-good.json.new");
        let mut writer = fs::File::create(&beside)?;
        writer.write_all(&note)?;
        writer.sync_all()?;
        fs::rename(&beside, self.folder.join(NOTE))
    }

    /// Removes what is neither the last good package nor its note. A site that is still served from a removed file
    /// keeps it open.
    fn sweep(&self, file: &str) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name != file
                && name != NOTE
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "an old package stays on disk");
            }
        }
    }

    fn read(&self) -> io::Result<Option<Package>> {
        let text = match fs::read(self.folder.join(NOTE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let note: Note = serde_json::from_slice(&text)?;
        // A folder is written with or without a slash at its end.
        if note.source.trim_end_matches('/') != self.source.trim_end_matches('/') || !is_file_name(&note.file) {
            return Ok(None);
        }
        let path = self.folder.join(&note.file);
        if fs::metadata(&path)?.len() == 0 {
            return Err(io::Error::other("it is empty"));
        }
        let site = Site::open(&path, &PackageLimits::default()).map_err(io::Error::other)?;
        Ok(Some(Package::of(note.release, site)))
    }

    fn fault(&self, error: &io::Error) -> Fault {
        Fault::retry(format!("keeping the package in {}", self.folder.display()), error)
    }
}

/// Whether it is a name that this program gives. Another build of it may give the same release another one.
fn is_file_name(name: &str) -> bool {
    name.strip_suffix(".zip").is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A name that no other release has; keys and tags hold characters that file names should not.
fn file_name(release: &Release) -> String {
    let mut name = DefaultHasher::new();
    (&release.key, &release.etag).hash(&mut name);
    format!("{:016x}.zip", name.finish())
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::package::pack::pack;

    fn release(etag: &str) -> Release {
        Release::plain("www/site-latest.zip", etag, 1, OffsetDateTime::UNIX_EPOCH)
    }

    fn incoming(shelf: &Shelf, text: &str) -> PathBuf {
        let site = tempfile::tempdir().expect("a temporary folder");
        fs::write(site.path().join("index.html"), text).expect("written");
        let path = shelf.incoming().expect("a path");
        pack(site.path(), fs::File::create(&path).expect("made")).expect("packed");
        path
    }

    #[tokio::test]
    async fn last_good_package_comes_back_and_the_one_before_it_is_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shelf = Shelf::new(folder.path().join("package"), "s3://b/p/".into());
        assert!(shelf.last_good().await.is_none());
        for etag in ["\"1\"", "\"2\""] {
            let path = shelf.put(incoming(&shelf, etag), release(etag)).await.expect("put");
            assert!(path.exists());
        }
        let package = shelf.last_good().await.expect("a package");
        assert_eq!(package.release, release("\"2\""));
        assert_eq!(fs::read_dir(folder.path().join("package")).expect("readable").count(), 2);
    }

    #[tokio::test]
    async fn package_of_another_place_is_not_served() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shelf = Shelf::new(folder.path().into(), "s3://b/p/".into());
        shelf.put(incoming(&shelf, "x"), release("\"1\"")).await.expect("put");
        for (source, served) in [("s3://b/q/", false), ("s3://b/p-staging/", false), ("s3://b/p", true)] {
            let other = Shelf::new(folder.path().into(), source.into());
            assert_eq!(other.last_good().await.is_some(), served, "{source}");
        }
    }

    #[tokio::test]
    async fn package_is_found_under_the_name_that_another_build_gave_it_and_under_no_path() {
        let above = tempfile::tempdir().expect("a temporary folder");
        let folder = above.path().join("package");
        let shelf = Shelf::new(folder.clone(), "s3://b/p/".into());
        let path = shelf.put(incoming(&shelf, "x"), release("\"1\"")).await.expect("put");
        for (name, found) in [("0123456789abcdef.zip", true), ("../0123456789abcdef.zip", false), ("x.zip", false)] {
            fs::copy(&path, folder.join(name)).expect("copied");
            shelf.note(name, release("\"1\"")).expect("noted");
            assert_eq!(shelf.last_good().await.is_some(), found, "{name}");
        }
    }

    #[tokio::test]
    async fn shelf_that_was_damaged_is_empty_and_no_panic() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shelf = Shelf::new(folder.path().into(), "s3://b/p/".into());
        let path = shelf.put(incoming(&shelf, "x"), release("\"1\"")).await.expect("put");
        let whole = fs::read(&path).expect("readable");
        for damaged in [&b""[..], &whole[..whole.len() / 2], b"<html>"] {
            fs::write(&path, damaged).expect("written");
            assert!(shelf.last_good().await.is_none());
        }
        fs::write(folder.path().join(NOTE), "{").expect("written");
        assert!(shelf.last_good().await.is_none());
    }
}
