//! The last good package on disk, from which a restarted host serves at once, also while S3 is down.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use spothost_server::{PackageLimits, Site};

use super::Package;
use crate::{
    atomic_file::AtomicFile,
    documents::{Document as _, LastGood, Release, layout::LAST_GOOD},
    fault::Fault,
};

/// Hexadecimal digits of a package's file name.
const DIGITS: usize = 16;

/// A folder with the last good package and its note, and beside them the package that is on trial, if there is one.
///
/// A package is written beside, synced, renamed, and only then noted: whenever the process or the machine dies, the
/// note names a whole package.
#[derive(Clone)]
pub struct PackageCache {
    folder: PathBuf,
    /// Where its packages are published: a host whose configuration now names another place does not serve them.
    source: String,
}

impl PackageCache {
    /// The shelf in `folder`, which is made when it is needed, for packages that are published at `source`.
    pub fn new(folder: PathBuf, source: String) -> PackageCache {
        PackageCache { folder, source }
    }

    /// The last good package, if there is one and it can still be opened.
    pub async fn last_good(&self) -> Option<Package> {
        let package_cache = self.clone();
        match tokio::task::spawn_blocking(move || package_cache.read()).await {
            Ok(Ok(package)) => package,
            Ok(Err(error)) => {
                tracing::warn!(%error, folder = %self.folder.display(), "the last good package cannot be used");
                None
            }
            Err(_) => None,
        }
    }

    /// Whether what lies there is a package of its source.
    pub fn is_of_its_source(&self) -> bool {
        matches!(self.note(), Ok(Some(note)) if self.is_source(&note.source))
    }

    /// Where the next package is written to.
    pub(super) fn incoming(&self) -> Result<PathBuf, Fault> {
        fs::create_dir_all(&self.folder).map_err(|error| self.fault(&error))?;
        Ok(self.folder.join("incoming.zip"))
    }

    /// Adds `incoming`, which is verified and synced, beside the last good package, and says where it lies now. Any other that was added
    /// is removed.
    pub(super) async fn add(&self, incoming: PathBuf, release: Release) -> Result<PathBuf, Fault> {
        let package_cache = self.clone();
        let added = tokio::task::spawn_blocking(move || package_cache.rename(&incoming, &release)).await;
        added.map_err(|error| Fault::retry("keeping the package", error))?.map_err(|error| self.fault(&error))
    }

    /// Makes `release`, which was added, the last good package, and removes the one before.
    pub(super) async fn note_last_good(&self, release: Release) -> Result<(), Fault> {
        let package_cache = self.clone();
        let noted = tokio::task::spawn_blocking(move || package_cache.note_and_sweep(release)).await;
        noted.map_err(|error| Fault::retry("keeping the package", error))?.map_err(|error| self.fault(&error))
    }

    /// Whether a last good package that is not `release` lies there, and can be opened.
    pub(super) fn keeps_another(&self, release: &Release) -> bool {
        matches!(self.note(), Ok(Some(note)) if self.is_source(&note.source) && is_file_name(&note.file)
            && !note.release.is(release) && fs::metadata(self.folder.join(&note.file)).is_ok_and(|file| file.len() > 0))
    }

    /// Removes `release`, which was added, unless it is the last good package.
    pub(super) fn forget(&self, release: &Release) {
        let file = file_name(release);
        if !matches!(self.note(), Ok(Some(note)) if note.file == file) {
            let _ = fs::remove_file(self.folder.join(file));
        }
    }

    fn rename(&self, incoming: &Path, release: &Release) -> io::Result<PathBuf> {
        let file = file_name(release);
        let path = self.folder.join(&file);
        fs::rename(incoming, &path)?;
        fs::File::open(&self.folder)?.sync_all()?;
        let last_good = self.note().ok().flatten().map(|note| note.file);
        self.sweep(&[Some(file.as_str()), last_good.as_deref()]);
        Ok(path)
    }

    fn note_and_sweep(&self, release: Release) -> io::Result<()> {
        let file = file_name(&release);
        self.write_note(&file, release)?;
        fs::File::open(&self.folder)?.sync_all()?;
        self.sweep(&[Some(&file)]);
        Ok(())
    }

    fn write_note(&self, file: &str, release: Release) -> io::Result<()> {
        let note = LastGood::new(self.source.clone(), release, file.to_owned());
        AtomicFile::at(&self.folder.join(LAST_GOOD)).write(&note.text())
    }

    /// Removes all but `files` and the note. A site that is still served from a removed file keeps it open.
    fn sweep(&self, files: &[Option<&str>]) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let stays = name == LAST_GOOD || files.iter().flatten().any(|file| name == *file);
            if !stays && let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "an old package was not removed from disk");
            }
        }
    }

    fn note(&self) -> io::Result<Option<LastGood>> {
        match fs::read(self.folder.join(LAST_GOOD)) {
            Ok(text) => LastGood::read(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A folder is written with or without a slash at its end.
    fn is_source(&self, source: &str) -> bool {
        source.trim_end_matches('/') == self.source.trim_end_matches('/')
    }

    fn read(&self) -> io::Result<Option<Package>> {
        let Some(note) = self.note()? else { return Ok(None) };
        if !self.is_source(&note.source) || !is_file_name(&note.file) {
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

/// Whether it is a name that this program gives. Earlier versions gave the same release others, of the same form.
fn is_file_name(name: &str) -> bool {
    name.strip_suffix(".zip")
        .is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A name that no other release has, the same in every version: the first 64 bits of the SHA-256 of key and tag, which hold
/// characters that file names should not.
fn file_name(release: &Release) -> String {
    let hash = Sha256::new().chain_update(&release.key).chain_update([0]).chain_update(&release.etag).finalize();
    format!("{}.zip", hex::encode(&hash[..DIGITS / 2]))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::package::pack::pack;

    fn release(etag: &str) -> Release {
        Release::plain("www/site-latest.zip", etag, 1, OffsetDateTime::UNIX_EPOCH)
    }

    fn incoming(package_cache: &PackageCache, text: &str) -> PathBuf {
        let site = tempfile::tempdir().expect("a temporary folder");
        fs::write(site.path().join("index.html"), text).expect("written");
        let path = package_cache.incoming().expect("a path");
        pack(site.path(), fs::File::create(&path).expect("made")).expect("packed");
        path
    }

    /// Adds a package and makes it the last good one, as for a package without a process.
    async fn put(package_cache: &PackageCache, incoming: PathBuf, release: Release) -> Result<PathBuf, Fault> {
        let path = package_cache.add(incoming, release.clone()).await?;
        package_cache.note_last_good(release).await?;
        Ok(path)
    }

    #[tokio::test]
    async fn package_on_trial_lies_beside_the_last_good_one_until_it_takes_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package_cache = PackageCache::new(folder.path().into(), "s3://b/p/".into());
        let kept = async || package_cache.last_good().await.map(|package| package.release);
        let files = || fs::read_dir(folder.path()).expect("readable").count();
        assert!(!package_cache.keeps_another(&release("\"1\"")));
        put(&package_cache, incoming(&package_cache, "1"), release("\"1\"")).await.expect("put");
        assert!(package_cache.keeps_another(&release("\"2\"")) && !package_cache.keeps_another(&release("\"1\"")));
        // Each one on trial takes the place of the one before it.
        for etag in ["\"2\"", "\"3\""] {
            package_cache.add(incoming(&package_cache, etag), release(etag)).await.expect("added");
            assert_eq!((kept().await, files()), (Some(release("\"1\"")), 3));
        }
        // Back to the last good one, which lies there already.
        package_cache.add(incoming(&package_cache, "1"), release("\"1\"")).await.expect("added");
        assert_eq!((kept().await, files()), (Some(release("\"1\"")), 2));
        package_cache.forget(&release("\"1\""));
        assert_eq!((kept().await, files()), (Some(release("\"1\"")), 2));
        package_cache.add(incoming(&package_cache, "4"), release("\"4\"")).await.expect("added");
        package_cache.note_last_good(release("\"4\"")).await.expect("noted");
        assert_eq!((kept().await, files()), (Some(release("\"4\"")), 2));
    }

    #[tokio::test]
    async fn last_good_package_comes_back_and_the_one_before_it_is_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package_cache = PackageCache::new(folder.path().join("package"), "s3://b/p/".into());
        assert!(package_cache.last_good().await.is_none());
        for etag in ["\"1\"", "\"2\""] {
            let path = put(&package_cache, incoming(&package_cache, etag), release(etag)).await.expect("put");
            assert!(path.exists());
        }
        let package = package_cache.last_good().await.expect("a package");
        assert_eq!(package.release, release("\"2\""));
        assert_eq!(fs::read_dir(folder.path().join("package")).expect("readable").count(), 2);
    }

    #[tokio::test]
    async fn package_of_another_place_is_not_served() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package_cache = PackageCache::new(folder.path().into(), "s3://b/p/".into());
        put(&package_cache, incoming(&package_cache, "x"), release("\"1\"")).await.expect("put");
        for (source, served) in [("s3://b/q/", false), ("s3://b/p-staging/", false), ("s3://b/p", true)] {
            let other = PackageCache::new(folder.path().into(), source.into());
            assert_eq!(other.last_good().await.is_some(), served, "{source}");
        }
    }

    /// A folder as version 0.1.0 left it.
    #[tokio::test]
    async fn package_that_an_earlier_version_kept_is_served_and_then_kept_under_its_lasting_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package_cache = PackageCache::new(folder.path().into(), "s3://b/p/".into());
        fs::rename(incoming(&package_cache, "x"), folder.path().join("9ca1b3d5e7f90246.zip")).expect("named");
        let note = r#"{
  "source": "s3://b/p/",
  "release": {
    "key": "www/site-latest.zip",
    "etag": "\"1\"",
    "version": null,
    "named": null,
    "length": 1,
    "modified": "1970-01-01T00:00:00Z"
  },
  "file": "9ca1b3d5e7f90246.zip"
}"#;
        fs::write(folder.path().join(LAST_GOOD), note).expect("written");
        assert_eq!(package_cache.last_good().await.map(|package| package.release), Some(release("\"1\"")));
        let path = put(&package_cache, incoming(&package_cache, "x"), release("\"1\"")).await.expect("put");
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some("6e2a6028f69d2657.zip"));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2, "the package and its note");
        assert!(package_cache.last_good().await.is_some());
    }

    #[tokio::test]
    async fn package_is_found_under_the_name_that_another_build_gave_it_and_under_no_path() {
        let above = tempfile::tempdir().expect("a temporary folder");
        let folder = above.path().join("package");
        let package_cache = PackageCache::new(folder.clone(), "s3://b/p/".into());
        let path = put(&package_cache, incoming(&package_cache, "x"), release("\"1\"")).await.expect("put");
        for (name, found) in [("0123456789abcdef.zip", true), ("../0123456789abcdef.zip", false), ("x.zip", false)] {
            fs::copy(&path, folder.join(name)).expect("copied");
            package_cache.write_note(name, release("\"1\"")).expect("noted");
            assert_eq!(package_cache.last_good().await.is_some(), found, "{name}");
        }
    }

    #[tokio::test]
    async fn shelf_that_was_damaged_is_empty_and_no_panic() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package_cache = PackageCache::new(folder.path().into(), "s3://b/p/".into());
        let path = put(&package_cache, incoming(&package_cache, "x"), release("\"1\"")).await.expect("put");
        let whole = fs::read(&path).expect("readable");
        for damaged in [&b""[..], &whole[..whole.len() / 2], b"<html>"] {
            fs::write(&path, damaged).expect("written");
            assert!(package_cache.last_good().await.is_none());
        }
        fs::write(folder.path().join(LAST_GOOD), "{").expect("written");
        assert!(package_cache.last_good().await.is_none());
    }
}
