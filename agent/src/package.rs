//! Keeper: the site that the bucket holds is the site we have.
//!
//! A package is fetched beside the running site, verified whole, put on the shelf as the last good one, and only
//! then yielded. A package that is refused changes nothing: what is held stays, and the same object is not fetched
//! again for a while.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use spothost_server::{PackageLimits, Refused, Site};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    clock::moment,
    fault::Fault,
    keeper::{Judgement, Keeper, Pace},
    status::Part,
};

mod newest;
mod pack;
mod shelf;
mod source;

pub use shelf::Shelf;
pub use source::Source;

use newest::Found;
pub(crate) use newest::{is_latest, newest};
pub(crate) use pack::served;

/// A refused package is fetched again after this time, should the reason have been on our side.
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// A published object, pinned: two releases are the same if and only if all of this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Key of the object, or path on disk.
    pub key: String,
    /// Entity tag, quotes included.
    pub etag: String,
    /// Version id, where the bucket keeps versions and it is known.
    pub version: Option<String>,
    /// Length in bytes.
    pub length: u64,
    /// When it was published.
    #[serde(with = "time::serde::rfc3339")]
    pub modified: OffsetDateTime,
}

impl Release {
    /// Whether both are the same object with the same content, however much is known of their versions.
    pub fn is(&self, other: &Release) -> bool {
        self.key == other.key && self.etag == other.etag
    }
}

/// A release and the site that is served from it.
#[derive(Clone)]
pub struct Package {
    /// What was published.
    pub release: Release,
    /// What is served.
    pub site: Arc<Site>,
}

impl PartialEq for Package {
    fn eq(&self, other: &Package) -> bool {
        self.release.is(&other.release) && Arc::ptr_eq(&self.site, &other.site)
    }
}

/// Keeper of the package.
pub struct Packages {
    source: Source,
    shelf: Shelf,
    look: Duration,
    held: Option<Package>,
    refused: Option<(Release, Fault, Instant)>,
}

impl Packages {
    /// Follows `source` every `look` and keeps the last good package on `shelf`.
    pub fn new(source: Source, shelf: Shelf, look: Duration) -> Packages {
        Packages { source, shelf, look, held: None, refused: None }
    }

    /// The release that a look compares with: the last one that was dealt with, be it good or refused.
    fn known(&self) -> Option<&Release> {
        let refused = self.refused.as_ref().map(|(release, ..)| release);
        refused.or(self.held.as_ref().map(|held| &held.release))
    }

    fn is_refused(&self, release: &Release) -> Option<&Fault> {
        let (refused, fault, at) = self.refused.as_ref()?;
        (refused.is(release) && at.elapsed() < REFUSED_FOR).then_some(fault)
    }

    fn refuse(&mut self, release: Release, reason: &Refused) {
        let kept = if self.held.is_some() { "; the site before it stays" } else { "" };
        let remedy = format!("publish a package that is whole{kept}");
        let fault = Fault::operator(format!("verifying {}", release.key), reason, remedy);
        self.refused = Some((release, fault, Instant::now()));
    }
}

impl Keeper for Packages {
    type Seen = Found;
    type Drift = Release;
    type Held = Package;
    const PART: Part = Part::Package;

    fn pace(&self) -> Pace {
        Pace {
            look: self.look,
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(3600),
            // Without any site every second counts; with one, less than once a minute is enough for an S3 that is down.
            longest_pause: if self.held.is_some() { Duration::from_secs(75) } else { Duration::from_millis(1_500) },
        }
    }

    fn lacks(&self) -> Option<String> {
        self.source.lacks()
    }

    async fn woken(&mut self) {
        self.source.woken().await;
    }

    async fn remembered(&mut self) -> Option<Package> {
        self.held = self.shelf.last_good().await;
        self.held.clone()
    }

    async fn observe(&mut self) -> Result<Found, Fault> {
        let known = self.known().cloned();
        self.source.look(known.as_ref()).await
    }

    fn judge(&self, seen: Found) -> Judgement<Package, Release> {
        let newest = match seen {
            Found::Same => self.known(),
            Found::None(fault) => return Judgement::Refused(fault),
            Found::Newest(ref release) => Some(release),
        };
        let Some(newest) = newest else {
            return Judgement::Waits("a package".to_owned());
        };
        match &self.held {
            Some(held) if held.release.is(newest) => Judgement::Kept(held.clone()),
            meanwhile => match self.is_refused(newest) {
                Some(fault) => Judgement::Refused(fault.clone()),
                None => Judgement::Drifted { drift: newest.clone(), meanwhile: meanwhile.clone() },
            },
        }
    }

    async fn converge(&mut self, release: Release) -> Result<(), Fault> {
        let incoming = self.shelf.incoming()?;
        let release = self.source.fetch(&release, &incoming).await?;
        if let Err(reason) = verified(incoming.clone()).await? {
            // The look that follows says so, and goes on at its usual pace: the next release may be a good one.
            self.refuse(release, &reason);
            return Ok(());
        }
        let path = self.shelf.put(incoming, release.clone()).await?;
        let site = opened(path).await?;
        self.refused = None;
        self.held = Some(Package { release, site });
        self.source.fetched();
        Ok(())
    }

    fn holding(held: &Package) -> String {
        let (release, files) = (&held.release, held.site.files());
        let size = release.length as f64 / 1e6;
        let plural = if files == 1 { "" } else { "s" };
        format!("{} ({files} file{plural}, {size:.1} MB, {})", release.key, release.etag.trim_matches('"'))
    }

    fn drifting(drift: &Release) -> String {
        format!("fetching {} of {}", drift.key, moment(drift.modified))
    }

    fn notes(held: &Package) -> Vec<String> {
        held.site.notes().iter().map(ToString::to_string).collect()
    }
}

async fn verified(path: PathBuf) -> Result<Result<(), Refused>, Fault> {
    blocking("verifying the package", move || {
        Site::open(&path, &PackageLimits::default()).and_then(|site| site.verify())
    })
    .await
}

async fn opened(path: PathBuf) -> Result<Arc<Site>, Fault> {
    let opened = blocking("opening the package", move || Site::open(&path, &PackageLimits::default())).await?;
    opened.map(Arc::new).map_err(|reason| Fault::retry("opening the package", reason))
}

async fn blocking<T: Send + 'static>(doing: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::retry(doing, error))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::sync::watch;

    use super::*;
    use crate::{
        config::PackagePlace,
        fault::Cure,
        keeper::keep,
        status::{Board, Phase},
    };

    /// A site on disk, as a folder or zip that a test writes to.
    struct OnDisk {
        folder: tempfile::TempDir,
    }

    impl OnDisk {
        fn new() -> OnDisk {
            let folder = tempfile::tempdir().expect("a temporary folder");
            OnDisk { folder }
        }

        fn zip(&self) -> PathBuf {
            self.folder.path().join("site.zip")
        }

        fn publish(&self, text: &str) {
            let site = tempfile::tempdir().expect("a temporary folder");
            fs::write(site.path().join("index.html"), text).expect("written");
            let beside = self.folder.path().join("new.zip");
            pack::pack(site.path(), fs::File::create(&beside).expect("made")).expect("packed");
            fs::rename(beside, self.zip()).expect("renamed");
        }

        fn keeper(&self, path: &Path) -> Packages {
            let source = Source::new(PackagePlace::Disk(path.into()), watch::channel(None).1);
            let shelf = Shelf::new(self.folder.path().join("shelf"), path.display().to_string());
            Packages::new(source, shelf, Duration::from_secs(1))
        }
    }

    /// One round as the runner makes it: look, correct what drifts, and look again.
    async fn round(packages: &mut Packages) -> Result<Judgement<Package, Release>, Fault> {
        let seen = packages.observe().await?;
        let judgement = packages.judge(seen);
        if let Judgement::Drifted { drift, .. } = &judgement {
            packages.converge(drift.clone()).await?;
            let seen = packages.observe().await?;
            return Ok(packages.judge(seen));
        }
        Ok(judgement)
    }

    #[tokio::test]
    async fn broken_package_is_refused_once_and_the_site_before_it_stays() {
        let disk = OnDisk::new();
        disk.publish("one");
        let mut packages = disk.keeper(&disk.zip());
        round(&mut packages).await.expect("fetched");
        let one = packages.held.clone().expect("held");
        fs::write(disk.zip(), "<html>no zip at all</html>").expect("written");
        let judgement = round(&mut packages).await.expect("looked at");
        assert!(matches!(judgement, Judgement::Refused(fault) if fault.cure == Cure::Operator));
        assert!(packages.held.as_ref() == Some(&one), "the site before it stays");
        let seen = packages.observe().await.expect("looked at");
        assert!(matches!(packages.judge(seen), Judgement::Refused(_)), "and it is not fetched again");
        disk.publish("two");
        round(&mut packages).await.expect("fetched");
        assert!(packages.held.as_ref() != Some(&one), "a good one is taken at once");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_package_is_fetched_again_after_a_while_and_no_sooner() {
        let disk = OnDisk::new();
        fs::write(disk.zip(), "no zip").expect("written");
        let mut packages = disk.keeper(&disk.zip());
        let mut refused_at = async || {
            assert!(matches!(round(&mut packages).await, Ok(Judgement::Refused(_))));
            packages.refused.as_ref().map(|(.., at)| *at)
        };
        let first = refused_at().await;
        tokio::time::advance(REFUSED_FOR - Duration::from_secs(1)).await;
        assert_eq!(refused_at().await, first);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refused_at().await > first, "it was fetched and refused again");
    }

    #[tokio::test]
    async fn disk_that_cannot_be_written_leaves_the_site_and_heals() {
        let disk = OnDisk::new();
        disk.publish("one");
        let mut packages = disk.keeper(&disk.zip());
        round(&mut packages).await.expect("fetched");
        let one = packages.held.clone().expect("held");
        disk.publish("two");
        let incoming = disk.folder.path().join("shelf/incoming.zip");
        fs::create_dir(&incoming).expect("made");
        let fault = round(&mut packages).await.err().expect("it cannot be written");
        assert_eq!(fault.cure, Cure::Retry);
        assert!(packages.held.as_ref() == Some(&one), "the site stays");
        let again = disk.keeper(&disk.zip()).remembered().await.expect("so does the last good package");
        assert_eq!(again.release, one.release);
        fs::remove_dir(&incoming).expect("removed");
        round(&mut packages).await.expect("fetched");
        assert!(packages.held.as_ref() != Some(&one), "the new one is taken when there is room");
    }

    #[tokio::test]
    async fn restarted_host_remembers_the_last_good_package_without_its_source() {
        let disk = OnDisk::new();
        disk.publish("one");
        round(&mut disk.keeper(&disk.zip())).await.expect("fetched");
        fs::remove_file(disk.zip()).expect("removed");
        let mut again = disk.keeper(&disk.zip());
        let remembered = again.remembered().await.expect("remembered");
        assert_eq!(remembered.site.files(), 1);
        assert!(round(&mut again).await.is_err(), "the source is gone, which is said");
        assert!(again.held.as_ref() == Some(&remembered));
    }

    #[tokio::test]
    async fn run_of_the_keeper_swaps_a_changed_folder_in() {
        let disk = OnDisk::new();
        let site = disk.folder.path().join("site");
        fs::create_dir(&site).expect("made");
        fs::write(site.join("index.html"), "one").expect("written");
        let board = Board::new("www.example.org");
        let (yields, mut kept) = watch::channel(None);
        let (_depart, departing) = watch::channel(None);
        let place = board.place(Part::Package, &[]);
        tokio::spawn(keep(disk.keeper(&site), place, yields, departing));
        let first = kept.wait_for(Option::is_some).await.expect("a package").clone().expect("some");
        fs::write(site.join("about.html"), "two").expect("written");
        let second = kept.wait_for(|now| now.as_ref() != Some(&first)).await.expect("another").clone().expect("some");
        assert_eq!((first.site.files(), second.site.files()), (1, 2));
        assert_eq!(board.watch().borrow().parts[0].phase, Phase::Kept);
    }
}
