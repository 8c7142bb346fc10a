//! Where packages come from: a prefix of a bucket, or a folder or zip on disk.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::Instant;
use walkdir::WalkDir;

use super::{
    Release,
    newest::{Found, is_latest, newest},
    pack::{pack, served},
};
use crate::{
    aws::{
        Aws,
        bucket::{Bucket, Head},
    },
    config::{self, PackagePlace},
    fault::Fault,
    keeper::Kept,
};

/// A conditional look at the known object costs a twelfth of a listing, but cannot see a second `-latest` beside it.
const LIST_EVERY: Duration = Duration::from_secs(60);

/// Where packages come from.
pub enum Source {
    /// A prefix of a bucket.
    Bucket(FromBucket),
    /// A folder or zip on disk.
    Disk(PathBuf),
}

/// A prefix of a bucket, once there is a way to AWS.
pub struct FromBucket {
    place: config::Bucket,
    aws: Kept<Aws>,
    bucket: Option<Bucket>,
    listed: Option<Instant>,
    /// The release was fetched a moment ago, pinned: the look that verifies it needs no call.
    fresh: bool,
}

impl Source {
    /// The source at `place`.
    pub fn new(place: PackagePlace, aws: Kept<Aws>) -> Source {
        match place {
            PackagePlace::Disk(path) => Source::Disk(path),
            PackagePlace::Bucket(place) => {
                Source::Bucket(FromBucket { place, aws, bucket: None, listed: None, fresh: false })
            }
        }
    }

    pub(super) fn lacks(&self) -> Option<String> {
        match self {
            Source::Bucket(from) if from.aws.borrow().is_none() => Some("the region of the host".to_owned()),
            _ => None,
        }
    }

    pub(super) async fn woken(&mut self) {
        match self {
            Source::Bucket(from) if from.bucket.is_none() => {
                let _ = from.aws.changed().await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Looks for the newest package; `known` is the last one that was dealt with.
    pub(super) async fn look(&mut self, known: Option<&Release>) -> Result<Found, Fault> {
        match self {
            Source::Bucket(from) => from.look(known).await,
            Source::Disk(path) => {
                let path = path.clone();
                let look = tokio::task::spawn_blocking(move || fingerprint(&path)).await;
                look.map_err(|error| Fault::retry("looking at the site", error))?.map(Found::Newest)
            }
        }
    }

    /// Fetches exactly `release` into `incoming`.
    pub(super) async fn fetch(&mut self, release: &Release, incoming: &Path) -> Result<Release, Fault> {
        match self {
            Source::Bucket(from) => from.bucket()?.fetch(release, incoming).await,
            Source::Disk(path) => {
                let (path, release, incoming) = (path.clone(), release.clone(), incoming.to_owned());
                let copy = tokio::task::spawn_blocking(move || copy(&path, release, &incoming)).await;
                copy.map_err(|error| Fault::retry("packing the site", error))?
            }
        }
    }

    /// Says that what was fetched is good.
    pub(super) fn fetched(&mut self) {
        if let Source::Bucket(from) = self {
            from.fresh = true;
        }
    }
}

impl FromBucket {
    async fn look(&mut self, known: Option<&Release>) -> Result<Found, Fault> {
        if std::mem::take(&mut self.fresh) {
            return Ok(Found::Same);
        }
        let listed_lately = self.listed.is_some_and(|at| at.elapsed() < LIST_EVERY);
        if let (Some(known), true) = (known, listed_lately)
            && self.bucket()?.head(known).await? == Head::Same
        {
            return Ok(Found::Same);
        }
        self.list().await
    }

    async fn list(&mut self) -> Result<Found, Fault> {
        let releases = self.bucket()?.list().await?;
        self.listed = Some(Instant::now());
        let latest: Vec<_> = releases.iter().filter(|r| is_latest(&r.key)).map(|r| r.key.as_str()).collect();
        if latest.len() > 1 {
            tracing::warn!(keys = ?latest, "several objects say that they are the latest; the newest of them is taken");
        }
        Ok(match newest(releases) {
            Some(release) => Found::Newest(release),
            None => {
                let remedy = "publish one: aws s3 cp site.zip s3://BUCKET/PREFIX/site-latest.zip";
                let said = "no object whose key ends in -latest or -latest.zip";
                Found::None(Fault::operator(format!("looking for a package in {}", self.place), said, remedy))
            }
        })
    }

    fn bucket(&mut self) -> Result<&Bucket, Fault> {
        if self.bucket.is_none() {
            let aws = self.aws.borrow().clone();
            let aws = aws.ok_or_else(|| Fault::retry("looking for a package", "the region is not known yet"))?;
            self.bucket = Some(Bucket::new(&aws, self.place.clone()));
        }
        self.bucket.as_ref().ok_or_else(|| Fault::retry("looking for a package", "there is no client"))
    }
}

/// The state of a folder or zip as a release: its entity tag covers names, lengths and times of all that is served.
fn fingerprint(path: &Path) -> Result<Release, Fault> {
    let unreadable = |error: io::Error| {
        Fault::operator(format!("looking at {}", path.display()), error, "name a folder with a site, or a zip")
    };
    let mut state = DefaultHasher::new();
    let (mut length, mut newest) = (0, OffsetDateTime::UNIX_EPOCH);
    for entry in WalkDir::new(path).sort_by_file_name().into_iter().filter_entry(|e| e.depth() == 0 || served(e)) {
        let entry = entry.map_err(|error| unreadable(error.into()))?;
        let about = entry.metadata().map_err(|error| unreadable(error.into()))?;
        if about.is_file() {
            let modified = OffsetDateTime::from(about.modified().map_err(unreadable)?);
            (entry.path(), about.len(), modified).hash(&mut state);
            length += about.len();
            newest = newest.max(modified);
        }
    }
    let etag = format!("\"{:016x}\"", state.finish());
    Ok(Release { key: path.display().to_string(), etag, version: None, length, modified: newest })
}

/// Copies a zip or packs a folder; a zip that is written to while it is copied is found out by its CRCs.
fn copy(path: &Path, release: Release, incoming: &Path) -> Result<Release, Fault> {
    let doing = || format!("packing {}", path.display());
    let failed = |error: io::Error| Fault::retry(doing(), error);
    if path.is_dir() {
        let file = fs::File::create(incoming).map_err(failed)?;
        pack(path, file).map_err(|error| Fault::retry(doing(), error))?;
    } else {
        fs::copy(path, incoming).map_err(failed)?;
    }
    fs::File::open(incoming).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_changes_with_what_is_served_and_with_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        fs::write(path.join("index.html"), "one").expect("written");
        let first = fingerprint(path).expect("readable");
        assert!(first.is(&fingerprint(path).expect("readable")));
        fs::create_dir(path.join(".git")).expect("made");
        fs::write(path.join(".git/HEAD"), "x").expect("written");
        assert!(first.is(&fingerprint(path).expect("readable")), "what is hidden does not count");
        fs::write(path.join("index.html"), "three").expect("written");
        assert!(!first.is(&fingerprint(path).expect("readable")));
    }

    #[test]
    fn path_that_is_not_there_is_something_for_a_person() {
        let fault = fingerprint(Path::new("/no/such/site")).expect_err("not there");
        assert_eq!(fault.cure, crate::fault::Cure::Operator);
    }
}
