//! Where packages come from: a bucket, or a folder or zip on disk.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    download::{DownloadProgress, download},
    last_good::{self, found_good, instead},
    newest::{NewestPackage, newest, none},
    pack::pack,
    tree::{ExclusionReason, LeftOut, Tree},
};
use crate::{
    aws::{
        Aws,
        bucket::{BucketClient, ConditionalHead, ObjectMetadata, Unfetched},
        checksum::{Bytes, sha256},
        document_store::{DocumentStore, HIDDEN_AT_MOST},
    },
    clock,
    documents::{
        Document as _, Layout, Release, Verdict,
        layout::{self, is_latest},
    },
    fault::{Cure, Fault},
    keeper::Kept,
    place::{self, PackagePlace},
};

/// A conditional look at the known object costs a twelfth of a listing, but cannot see a second `-latest` beside it.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// A signature that is uploaded beside its package, as a file of its own, may come so much later.
const SIGNATURE_COMES_WITHIN: time::Duration = time::Duration::minutes(5);
/// How many names that are left out are told.
const MOST_TOLD: usize = 10;
/// How often a verdict is tried to be written at once, where other writes are in the way.
const TRIES: usize = 3;

/// Where packages come from.
pub enum Source {
    /// A prefix of a bucket.
    Bucket(Box<FromBucket>),
    /// A folder or zip on disk.
    Disk(OnDisk),
}

/// A folder or zip on disk.
pub struct OnDisk {
    path: PathBuf,
    /// What the last look found in the folder that is no part of the site, in words.
    left_out: Vec<String>,
}

/// A prefix of a bucket, once there is an AWS session.
pub struct FromBucket {
    place: place::S3Prefix,
    layout: Layout,
    aws: Kept<Aws>,
    clients: Option<(BucketClient, DocumentStore)>,
    listing: Option<Listing>,
    /// Verdicts that were read, by key, with the entity tags of their objects.
    read: HashMap<String, (String, Option<Verdict>)>,
    /// The release was fetched a moment ago, pinned: the look that verifies it needs no call.
    fresh: bool,
    /// The objects beside each other that say they are the latest, as they were told of last.
    rivals: Vec<String>,
    /// What looks were refused.
    unseen: HiddenRelease,
    /// What fetches were refused: a key of KMS may allow the one and not the other.
    unfetched: HiddenRelease,
}

/// The release that S3 refused last although it is listed, and how often in a row.
#[derive(Default)]
struct HiddenRelease(Option<(Release, u32)>);

/// The part of the last listing that can matter.
struct Listing {
    at: Instant,
    /// Packages under keys of their own, the newest of them.
    own: Vec<Release>,
    /// Objects with verdicts, the newest of them.
    verdicts: Vec<Release>,
    /// Versions of the newest package's key, once they were asked for.
    versions: Option<Vec<Release>>,
}

/// A release that was fetched.
pub(super) struct Fetched {
    /// What it is, with all that is known of it.
    pub(super) release: Release,
    /// Whether its bytes are the store's.
    pub(super) bytes: Bytes,
    /// Whether a part of it came of an earlier try.
    pub(super) resumed: bool,
    /// The text of its `.minisig` file, if there is one.
    pub(super) signature: Option<String>,
}

impl Source {
    /// The source at `place`.
    pub fn new(place: PackagePlace, aws: Kept<Aws>) -> Source {
        match place {
            PackagePlace::Disk(path) => Source::Disk(OnDisk { path, left_out: Vec::new() }),
            PackagePlace::Bucket(place) => {
                let read = HashMap::new();
                Source::Bucket(Box::new(FromBucket {
                    layout: Layout::new(&place.prefix),
                    place,
                    aws,
                    clients: None,
                    listing: None,
                    read,
                    fresh: false,
                    rivals: Vec::new(),
                    unseen: HiddenRelease::default(),
                    unfetched: HiddenRelease::default(),
                }))
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
            Source::Bucket(from) if from.clients.is_none() => {
                let _ = from.aws.changed().await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Looks for the newest package; `known` is the last one that was dealt with.
    pub(super) async fn look(&mut self, known: Option<&Release>) -> Result<NewestPackage, Fault> {
        match self {
            Source::Bucket(from) => from.look(known).await,
            Source::Disk(disk) => {
                let path = disk.path.clone();
                let look = tokio::task::spawn_blocking(move || fingerprint(&path)).await;
                let (release, left_out) = look.map_err(|error| Fault::retry("looking at the site", error))??;
                disk.left_out = left_out;
                Ok(NewestPackage::Newest(release, None))
            }
        }
    }

    /// How many bytes `release` will have on this disk at least: those of a folder that is packed are not known before.
    pub(super) fn length_on_disk(&self, release: &Release) -> u64 {
        match self {
            Source::Disk(disk) if disk.path.is_dir() => 0,
            Source::Disk(_) | Source::Bucket(_) => release.length,
        }
    }

    /// Fetches exactly `release` into `incoming`; with its signature if it has to be `signed`.
    pub(super) async fn fetch(
        &mut self,
        release: &Release,
        incoming: &Path,
        signed: bool,
        progress: &DownloadProgress,
    ) -> Result<Fetched, Fault> {
        match self {
            Source::Bucket(from) => from.fetch(release, incoming, signed, progress).await,
            Source::Disk(disk) => {
                let path = disk.path.clone();
                let release = release.clone();
                let incoming = incoming.to_owned();
                let copy = tokio::task::spawn_blocking(move || {
                    let release = copy(&path, release, &incoming)?;
                    let signature = signature_beside(&path);
                    Ok(Fetched { release, bytes: Bytes::TheStores, resumed: false, signature })
                });
                copy.await.map_err(|error| Fault::retry("packing the site", error))?
            }
        }
    }

    /// The text of the `.minisig` file of `release` as it is now, if there is one.
    pub(super) async fn signature_of(&mut self, release: &Release) -> Result<Option<String>, Fault> {
        match self {
            Source::Bucket(from) => {
                let about = from.clients()?.0.about(release).await;
                let about = about.map_err(|unfetched| from.fault_of(release, unfetched))?;
                from.signature(release, &about).await
            }
            Source::Disk(disk) => Ok(signature_beside(&disk.path)),
        }
    }

    /// What a host without a site takes instead of `refused`; `also` are verdicts that are written nowhere.
    pub(super) async fn instead(&mut self, refused: &Release, also: Vec<Verdict>) -> Result<Option<Release>, Fault> {
        match self {
            Source::Bucket(from) => from.instead(refused, also).await,
            Source::Disk(_) => Ok(None),
        }
    }

    /// The newest package that hosts have found good, of those that neither a host nor `also` refuses; none where there are no verdicts.
    pub(super) async fn found_good(&mut self, newest: &Release, also: Vec<Verdict>) -> Result<Option<Release>, Fault> {
        match self {
            Source::Bucket(from) => {
                let (own, versions, verdicts) = from.candidates(newest, also).await?;
                Ok(found_good(&own, &versions, &verdicts))
            }
            Source::Disk(_) => Ok(None),
        }
    }

    /// Where a verdict on `release` lies, or would; none where there are no verdicts.
    pub(super) fn verdict_key(&self, release: &Release) -> Option<String> {
        match self {
            Source::Bucket(from) => Some(from.layout.verdict(&release.etag)),
            Source::Disk(_) => None,
        }
    }

    /// Whether the last listing has shown a verdict on `release`.
    pub(super) fn has_verdict_on(&self, release: &Release) -> bool {
        let Source::Bucket(from) = self else { return false };
        let key = from.layout.verdict(&release.etag);
        from.listing.iter().flat_map(|listing| &listing.verdicts).any(|verdict| verdict.key == key)
    }

    /// Where a verdict on `release` lies, or would, for people.
    pub(super) fn verdict_place(&self, release: &Release) -> Option<String> {
        match self {
            Source::Bucket(from) => self.verdict_key(release).map(|key| format!("s3://{}/{key}", from.place.bucket)),
            Source::Disk(_) => None,
        }
    }

    /// Leaves a verdict beside the package for every host, unless there is one.
    pub(super) async fn tell(&mut self, verdict: &Verdict) -> Result<(), Fault> {
        match self {
            Source::Bucket(from) => from.tell(verdict).await,
            Source::Disk(_) => Ok(()),
        }
    }

    /// What the last look found that is no part of the site, in words; none where packages are published as they are.
    pub(super) fn left_out(&self) -> Option<&[String]> {
        match self {
            Source::Bucket(_) => None,
            Source::Disk(disk) => Some(&disk.left_out),
        }
    }

    /// Marks the fetched package as good.
    pub(super) fn fetched(&mut self) {
        if let Source::Bucket(from) = self {
            from.fresh = true;
        }
    }
}

impl FromBucket {
    async fn look(&mut self, known: Option<&Release>) -> Result<NewestPackage, Fault> {
        if std::mem::take(&mut self.fresh) {
            return Ok(NewestPackage::Same);
        }
        let listed_lately = self.listing.as_ref().is_some_and(|listing| listing.at.elapsed() < LIST_EVERY);
        // Whatever else was found, the listing tells more: which package is the newest, and whether it was judged.
        let mut refused = None;
        if let (Some(known), true) = (known, listed_lately) {
            match self.clients()?.0.head(known).await? {
                ConditionalHead::Same => {
                    self.unseen = HiddenRelease::default();
                    return Ok(NewestPackage::Same);
                }
                ConditionalHead::Hidden(fault) => refused = Some((known, fault)),
                ConditionalHead::Other | ConditionalHead::Gone => {}
            }
        }
        let found = self.list().await?;
        match (refused, &found) {
            (Some((known, fault)), NewestPackage::Newest(newest, _)) if newest.is(known) => {
                match self.unseen.again(known, fault) {
                    fault if fault.cure == Cure::Operator => Err(fault),
                    _ => Ok(found),
                }
            }
            _ => Ok(found),
        }
    }

    async fn list(&mut self) -> Result<NewestPackage, Fault> {
        let releases = self.clients()?.0.list().await?;
        let newest = newest(&releases, &self.place).cloned();
        self.tell_of_rivals(&releases, newest.as_ref());
        let Some(release) = newest else {
            let fault = none(&releases, &self.place);
            self.listed(Listing::of(releases, &self.place, None));
            return Ok(NewestPackage::None(fault));
        };
        self.listed(Listing::of(releases, &self.place, Some(&release)));
        let verdict = self.verdict_on(&release).await?;
        Ok(NewestPackage::Newest(release, verdict))
    }

    /// Remembers what a listing has shown, and forgets verdicts that are not there any more.
    fn listed(&mut self, listing: Listing) {
        self.read.retain(|key, _| listing.verdicts.iter().any(|verdict| verdict.key == *key));
        self.listing = Some(listing);
    }

    /// Warns of several objects that say they are the latest, once as long as they are the same ones.
    fn tell_of_rivals(&mut self, releases: &[Release], newest: Option<&Release>) {
        let latest = releases.iter().filter(|r| is_latest(&r.key) && self.place.holds(&r.key));
        let mut latest: Vec<_> = latest.map(|r| r.key.clone()).collect();
        latest.sort_unstable();
        if latest.len() > 1 && latest != self.rivals {
            let taken = newest.map(|newest| newest.key.as_str());
            tracing::warn!(keys = ?latest, taken, "several objects are named as the latest; taking the newest");
        }
        self.rivals = latest;
    }

    /// The verdict on the object with that very tag, if the listing has shown one.
    async fn verdict_on(&mut self, release: &Release) -> Result<Option<Verdict>, Fault> {
        let key = self.layout.verdict(&release.etag);
        let listed = self.listing.iter().flat_map(|listing| &listing.verdicts).find(|verdict| verdict.key == key);
        match listed.cloned() {
            Some(listed) => Ok(self.read_verdicts(vec![listed]).await?.pop()),
            None => Ok(None),
        }
    }

    /// Reads those of the verdicts that were not read yet.
    async fn read_verdicts(&mut self, listed: Vec<Release>) -> Result<Vec<Verdict>, Fault> {
        let document_store = self.clients()?.1.clone();
        let is_read = |object: &&Release| self.read.get(&object.key).is_none_or(|(etag, _)| *etag != object.etag);
        let unread: Vec<_> = listed.iter().filter(is_read).cloned().collect();
        let reading = unread.into_iter().map(|object| {
            let document_store = document_store.clone();
            async move { (document_store.read_listed(&object.key).await, object) }
        });
        let mut reading = stream::iter(reading).buffer_unordered(8);
        while let Some((read, object)) = reading.next().await {
            let verdict = match read {
                // It was deleted since it was listed: a person has lifted it.
                Ok(None) => continue,
                Ok(Some(text)) => Verdict::read(&text).map_err(|why| why.to_string()),
                // A host that may not read verdicts serves all the same: its own gate judges, too.
                Err(fault) if fault.cure == Cure::Operator => Err(fault.to_string()),
                Err(fault) => return Err(fault),
            };
            if let Err(why) = &verdict {
                tracing::warn!(key = object.key, why, "ignoring a verdict that cannot be read");
            }
            self.read.insert(object.key, (object.etag, verdict.ok()));
        }
        Ok(listed.iter().filter_map(|object| self.read.get(&object.key)?.1.clone()).collect())
    }

    async fn instead(&mut self, refused: &Release, also: Vec<Verdict>) -> Result<Option<Release>, Fault> {
        let (own, versions, verdicts) = self.candidates(refused, also).await?;
        Ok(instead(&own, &versions, &verdicts))
    }

    /// The packages under keys of their own, the versions of the newest one's key, and what hosts and `also` say of them all.
    async fn candidates(
        &mut self,
        newest: &Release,
        also: Vec<Verdict>,
    ) -> Result<(Vec<Release>, Vec<Release>, Vec<Verdict>), Fault> {
        let listed = self.listing.as_ref().map(|listing| listing.verdicts.clone()).unwrap_or_default();
        let mut verdicts = self.read_verdicts(listed).await?;
        verdicts.extend(also);
        let Some(listing) = &self.listing else { return Ok((Vec::new(), Vec::new(), verdicts)) };
        let own = listing.own.clone();
        // The bucket's own versions are asked for only where nothing else is known to be good.
        if found_good(&own, &[], &verdicts).is_some() {
            return Ok((own, Vec::new(), verdicts));
        }
        let versions = match listing.versions.clone() {
            Some(versions) => versions,
            None => self.versions(&newest.key).await?,
        };
        Ok((own, versions, verdicts))
    }

    /// The versions of a key; none where they may not be listed.
    async fn versions(&mut self, key: &str) -> Result<Vec<Release>, Fault> {
        let versions = match self.clients()?.0.versions(key).await {
            Err(fault) if fault.cure == Cure::Operator => {
                tracing::warn!(%fault, "older versions of the package cannot be looked for");
                Vec::new()
            }
            versions => versions?,
        };
        if let Some(listing) = &mut self.listing {
            listing.versions = Some(versions.clone());
        }
        Ok(versions)
    }

    async fn fetch(
        &mut self,
        release: &Release,
        incoming: &Path,
        signed: bool,
        progress: &DownloadProgress,
    ) -> Result<Fetched, Fault> {
        let about = self.clients()?.0.about(release).await;
        let about = about.map_err(|unfetched| self.fault_of(release, unfetched))?;
        let signature = if signed { self.signature(release, &about).await? } else { None };
        if signed && signature.is_none() && clock::now() - release.modified < SIGNATURE_COMES_WITHIN {
            let said = format!(
                "no signature can be read yet, neither in its metadata nor as {}",
                layout::signature(&release.key)
            );
            return Err(Fault::retry(format!("looking for the signature of {}", release.key), said));
        }
        let release = Release { version: about.version.clone(), named: about.named.clone(), ..release.clone() };
        let resumed = download(&self.clients()?.0, &release, incoming, progress).await;
        let resumed = resumed.map_err(|unfetched| self.fault_of(&release, unfetched))?;
        self.unfetched = HiddenRelease::default();
        let file = incoming.to_owned();
        let compared = tokio::task::spawn_blocking(move || compare(&about, &file)).await;
        let compared = compared.map_err(|error| Fault::retry("comparing checksums", error))?;
        let bytes = compared.map_err(|error| Fault::retry(format!("reading {}", incoming.display()), error))?;
        Ok(Fetched { release, bytes, resumed, signature })
    }

    fn fault_of(&mut self, release: &Release, unfetched: Unfetched) -> Fault {
        match unfetched {
            Unfetched::Hidden(fault) => self.unfetched.again(release, fault),
            Unfetched::Replaced(fault) | Unfetched::Failed(fault) => fault,
        }
    }

    /// The signature in the object's metadata, else the one that lies beside it.
    async fn signature(&mut self, release: &Release, about: &ObjectMetadata) -> Result<Option<String>, Fault> {
        if let Some(coded) = &about.signature {
            let text = BASE64_STANDARD.decode(coded).ok().and_then(|text| String::from_utf8(text).ok());
            return Ok(Some(text.unwrap_or_default()));
        }
        let beside = self.clients()?.1.read(&layout::signature(&release.key)).await?;
        Ok(beside.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    async fn tell(&mut self, verdict: &Verdict) -> Result<(), Fault> {
        let key = self.layout.verdict(&verdict.etag);
        let outdated = self.outdated(&key, verdict);
        let document_store = &self.clients()?.1;
        let write = async || match &outdated {
            Some(etag) => document_store.replace(&key, etag, verdict.text()).await,
            None => document_store.write_new(&key, verdict.text()).await,
        };
        for _ in 1..TRIES {
            match write().await {
                Err(fault) if fault.cure == Cure::Retry => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(fault) => return Err(fault),
                Ok(_) => return Ok(()),
            }
        }
        write().await.map(|_| ())
    }

    /// The entity tag of the verdict that lies there, if it is about another signature than this one is.
    fn outdated(&self, key: &str, verdict: &Verdict) -> Option<String> {
        let (etag, there) = self.read.get(key)?;
        let there = there.as_ref().filter(|there| there.signed.is_some() && there.signed != verdict.signed)?;
        tracing::info!(key, was = %there, "the signature of the package has changed");
        Some(etag.clone())
    }

    fn clients(&mut self) -> Result<&(BucketClient, DocumentStore), Fault> {
        if self.clients.is_none() {
            let aws = self.aws.borrow().clone();
            let aws = aws.ok_or_else(|| Fault::retry("looking for a package", "the region is not known yet"))?;
            let document_store = DocumentStore::new(&aws, self.place.bucket.clone());
            self.clients = Some((BucketClient::new(&aws, self.place.clone()), document_store));
        }
        self.clients.as_ref().ok_or_else(|| Fault::retry("looking for a package", "there is no client"))
    }
}

impl HiddenRelease {
    /// What one more refusal of `release` means, which a listing has shown: it may have been replaced a moment ago, and if
    /// it is refused a few times in a row, the permission is missing.
    fn again(&mut self, release: &Release, fault: Fault) -> Fault {
        let before = self.0.take().filter(|(hidden, _)| hidden.is(release)).map_or(0, |(_, times)| times);
        self.0 = Some((release.clone(), before + 1));
        if before + 1 < HIDDEN_AT_MOST {
            return Fault::retry(fault.doing, format!("{}: it is gone by now, or may not be read", fault.said));
        }
        fault
    }
}

impl Listing {
    /// What matters of a listing: of a folder with very many objects the newest ones.
    fn of(releases: Vec<Release>, place: &place::S3Prefix, newest: Option<&Release>) -> Listing {
        let layout = Layout::new(&place.prefix);
        let verdicts = layout.verdicts();
        let (mut judged, others): (Vec<_>, Vec<_>) = releases.into_iter().partition(|r| r.key.starts_with(&verdicts));
        let is_own = |r: &Release| place.holds(&r.key) && r.key.ends_with(".zip") && !is_latest(&r.key);
        let mut own: Vec<_> = others.into_iter().filter(is_own).collect();
        // The one on the newest package is always among them.
        let on_newest = newest.map(|newest| layout.verdict(&newest.etag));
        judged.sort_by_key(|r| std::cmp::Reverse((Some(&r.key) == on_newest.as_ref(), r.modified)));
        own.sort_by_key(|r| std::cmp::Reverse(r.modified));
        judged.truncate(last_good::MOST);
        own.truncate(last_good::MOST);
        Listing { at: Instant::now(), own, verdicts: judged, versions: None }
    }
}

/// The same of a folder or zip on disk.
fn signature_beside(path: &Path) -> Option<String> {
    fs::read_to_string(layout::signature(&path.display().to_string())).ok()
}

/// Whether the bytes in `file` are the store's: by its own checksum, else by what the publisher says.
fn compare(about: &ObjectMetadata, file: &Path) -> io::Result<Bytes> {
    match (about.checksum.compare(file)?, &about.sha256) {
        (Bytes::Unknown, Some(told)) if sha256(file)?.eq_ignore_ascii_case(told) => Ok(Bytes::TheStores),
        (compared, _) => Ok(compared),
    }
}

/// The state of a folder or zip as a release: its entity tag covers names, lengths and times of all that is served. Also what
/// is left out of it.
fn fingerprint(path: &Path) -> Result<(Release, Vec<String>), Fault> {
    let unreadable = |error: io::Error| {
        Fault::operator(format!("looking at {}", path.display()), error, "name a folder with a site, or a zip")
    };
    let mut tree = Tree::read(path);
    if let Some((path, error)) = tree.unreadable.pop() {
        return Err(unreadable(io::Error::new(error.kind(), format!("{}: {error}", path.display()))));
    }
    let mut state = Sha256::new();
    let mut length = 0;
    let mut newest = OffsetDateTime::UNIX_EPOCH;
    for leaf in &tree.files {
        let modified = OffsetDateTime::from(leaf.about.modified().map_err(unreadable)?);
        let path = leaf.path.as_os_str().as_bytes();
        // Each part has a length that is known, so that no two states read alike.
        for part in [path, &path.len().to_be_bytes(), &leaf.about.len().to_be_bytes()] {
            state.update(part);
        }
        state.update(modified.unix_timestamp_nanos().to_be_bytes());
        length += leaf.about.len();
        newest = newest.max(modified);
    }
    let etag = format!("\"{}\"", hex::encode(&state.finalize()[..8]));
    let release = Release::plain(&path.display().to_string(), &etag, length, newest);
    Ok((release, in_words(&tree.left_out)))
}

/// The files that are left out, for a person: hidden names in one line, and names that may be meant to be served one by one.
fn in_words(left_out: &[LeftOut]) -> Vec<String> {
    let (hidden, others): (Vec<_>, Vec<_>) =
        left_out.iter().partition(|left_out| left_out.why == ExclusionReason::Hidden);
    let mut words: Vec<_> = others.iter().take(MOST_TOLD).map(|one| format!("left out: {one}")).collect();
    if others.len() > MOST_TOLD {
        words.push(format!("left out: {} more such names", others.len() - MOST_TOLD));
    }
    let mut names: Vec<_> = hidden.iter().take(MOST_TOLD).map(|one| one.inside.display().to_string()).collect();
    if hidden.len() > MOST_TOLD {
        names.push(format!("and {} more", hidden.len() - MOST_TOLD));
    }
    if !names.is_empty() {
        words.push(format!("left out, because hidden: {}", names.join(", ")));
    }
    words
}

/// Copies a zip or packs a folder; a zip that is written to while it is copied is found out by its CRCs. What did not
/// become whole is removed: a disk that it filled is needed for other things.
fn copy(path: &Path, release: Release, incoming: &Path) -> Result<Release, Fault> {
    copy_whole(path, release, incoming).inspect_err(|_| drop(fs::remove_file(incoming)))
}

fn copy_whole(path: &Path, release: Release, incoming: &Path) -> Result<Release, Fault> {
    let doing = || format!("packing {}", path.display());
    let failed = |error: io::Error| Fault::retry(doing(), error);
    if path.is_dir() {
        let file = fs::File::create(incoming).map_err(failed)?;
        pack(path, file).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                Fault::operator(doing(), error, "rename or remove it: it is looked at again at once")
            }
            _ => failed(error),
        })?;
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
        let state = || fingerprint(path).expect("readable").0;
        let first = state();
        assert!(first.is(&state()));
        fs::create_dir(path.join(".git")).expect("made");
        fs::write(path.join(".git/HEAD"), "x").expect("written");
        assert!(first.is(&state()), "what is hidden does not count");
        fs::write(path.join("index.html"), "three").expect("written");
        assert!(!first.is(&state()));
    }

    #[test]
    fn change_behind_a_link_is_a_change_and_what_is_left_out_is_said() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("site");
        fs::create_dir_all(path.join("v2")).expect("made");
        fs::write(path.join("v2/index.html"), "two").expect("written");
        fs::write(path.join(".env"), "x").expect("written");
        fs::write(folder.path().join("secret"), "x").expect("written");
        for (to, link) in [("v2", "latest"), ("../secret", "secret"), ("gone", "dangling")] {
            std::os::unix::fs::symlink(to, path.join(link)).expect("a link");
        }
        let (first, said) = fingerprint(&path).expect("readable");
        assert_eq!(first.length, 6, "the page, and the page behind the link");
        let begins = [
            "left out: dangling: is a symbolic link to gone, which is not there",
            "left out: secret: is a",
            "left out, because hidden: .env",
        ];
        assert!(said.len() == 3 && said.iter().zip(begins).all(|(said, begin)| said.starts_with(begin)), "{said:?}");
        fs::remove_file(path.join("latest")).expect("removed");
        assert!(!first.is(&fingerprint(&path).expect("readable").0));
    }

    #[test]
    fn path_that_is_not_there_is_something_for_a_person() {
        let fault = fingerprint(Path::new("/no/such/site")).expect_err("not there");
        assert_eq!(fault.cure, crate::fault::Cure::Operator);
    }
}
