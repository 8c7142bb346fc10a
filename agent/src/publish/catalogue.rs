//! Everything that is published in a folder, what hosts said of it, and who serves what.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    aws::publisher_bucket::{Object, PublisherBucket},
    documents::{Document, HostDocument, HostRole, Label, Layout, Release, Verdict, Version, layout::is_latest},
    fault::Fault,
    package::newest,
};

/// No more of the newest objects beside the packages are read than this: hosts come and go.
const MOST_READ: usize = 200;
/// Bytes of such an object; a larger one is none of ours.
const LARGEST: u64 = 64 << 10;
const AT_ONCE: usize = 8;

/// A document beside the packages, and when its object was written, by S3's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dated<D> {
    pub(super) document: D,
    pub(super) written: OffsetDateTime,
}

/// The hosts' reports beside the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostReports {
    /// Verdicts on packages.
    pub(super) verdicts: Vec<Dated<Verdict>>,
    /// What hosts serve, as of today.
    pub(super) hosts: Vec<Dated<HostDocument>>,
    /// What could not be read, and why, for a person.
    pub(super) unread: Vec<String>,
}

/// One package that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedPackage {
    /// Key of its own object, or of the pointer where it has none.
    pub key: String,
    /// Its version; none when it was published by other means.
    pub version: Option<Version>,
    /// ETag of that object.
    pub etag: String,
    /// When it was published first.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When that object was written, by S3's clock.
    #[serde(skip)]
    pub(super) written: OffsetDateTime,
    /// Its length in bytes.
    pub length: u64,
    /// Whether it is the one that hosts are to serve.
    pub latest: bool,
    /// What a host found of it, if one has looked.
    pub verdict: Option<Verdict>,
    /// The hosts that say that they serve it.
    pub served_by: Vec<HostDocument>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The packages, the newest first.
    pub packages: Vec<PublishedPackage>,
    /// Further objects that say that they are the latest.
    pub rivals: Vec<String>,
    /// What hosts have said that could not be read, and why, for a person.
    pub unread: Vec<String>,
}

impl Catalogue {
    /// Reads the published versions of that bucket.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn read(publisher_bucket: &PublisherBucket) -> Result<Catalogue, Fault> {
        let layout = Layout::new(&publisher_bucket.place().prefix);
        let objects = publisher_bucket.list("").await?;
        let said = HostReports::read(publisher_bucket, &layout, &objects).await?;
        let pointed = match newest(&objects, publisher_bucket.place()) {
            Some(latest) => publisher_bucket.look(&latest.key).await?.map(|object| (latest.clone(), object)),
            None => None,
        };
        let packages: Vec<_> =
            objects.into_iter().filter(|object| publisher_bucket.place().holds(&object.key)).collect();
        Ok(Catalogue::of(&layout, &packages, pointed.as_ref(), said))
    }

    fn of(layout: &Layout, objects: &[Release], pointed: Option<&(Release, Object)>, said: HostReports) -> Catalogue {
        let live = pointed.and_then(|(_, object)| Label::of(&object.metadata)).map(|label| label.version);
        let mut packages: BTreeMap<&str, PublishedPackage> = BTreeMap::new();
        for object in objects.iter().filter(|object| object.key.ends_with(".zip") || is_latest(&object.key)) {
            let is_pointer = pointed.is_some_and(|(pointer, _)| pointer.key == object.key);
            // The pointer is a copy of a version, which has its own line.
            let version = layout.version_of(&object.key);
            if version.is_none() && is_latest(&object.key) && !(is_pointer && live.is_none()) {
                continue;
            }
            let latest = is_pointer || (version.is_some() && version == live);
            // What is said of a version that this program does not give is of the object with that ETag, or of the pointer to it.
            let pointer = pointed.filter(|_| latest).map(|(pointer, _)| pointer);
            let has = |etag: &str| [Some(object), pointer].into_iter().flatten().any(|of| bare(&of.etag) == bare(etag));
            let matches = |said: Option<Version>, etag: Option<&str>| match said {
                Some(said) => Some(&said) == version.as_ref(),
                None => etag.is_some_and(has),
            };
            let verdicts = said.verdicts.iter().map(|verdict| &verdict.document);
            let found = verdicts.filter(|verdict| matches(verdict.published_version(), Some(&verdict.etag)));
            let hosts = said.hosts.iter().map(|host| &host.document);
            let serving = hosts.filter(|host| matches(host.published_version(), host.etag.as_deref()));
            let published = PublishedPackage {
                key: object.key.clone(),
                etag: object.etag.clone(),
                at: version.as_ref().map_or(object.modified, Version::at),
                written: object.modified,
                length: object.length,
                latest,
                // A package that was refused once stays so, whatever another host said.
                verdict: found.max_by_key(|verdict| (verdict.refuses(), verdict.at)).cloned(),
                served_by: serving.cloned().collect(),
                version,
            };
            packages.insert(&object.key, published);
        }
        let mut packages: Vec<_> = packages.into_values().collect();
        // Names tell the second, and S3 mostly no more than that.
        packages.sort_by(|a, b| (b.at, b.written, &b.key).cmp(&(a.at, a.written, &a.key)));
        let rivals = objects.iter().filter(|object| is_latest(&object.key)).map(|object| object.key.clone());
        let rivals = rivals.filter(|key| pointed.is_none_or(|(pointer, _)| pointer.key != *key)).collect();
        Catalogue { packages, rivals, unread: said.unread }
    }

    /// The versions that are there, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.packages.iter().filter_map(|package| package.version.as_ref())
    }

    /// Objects beside that one which say that they are the latest, too: hosts that follow them look for others only once
    /// a minute.
    pub fn beside(&self, pointer: &str) -> Vec<String> {
        let unversioned = self.packages.iter().filter(|package| package.version.is_none() && is_latest(&package.key));
        let keys = unversioned.map(|package| &package.key).chain(&self.rivals);
        keys.filter(|key| *key != pointer).cloned().collect()
    }

    /// Why a version was refused, if it was, and still is with that signature, or without any.
    pub fn refusal(&self, version: &Version, signature: Option<&str>) -> Option<Vec<String>> {
        let package = self.packages.iter().find(|package| package.version.as_ref() == Some(version))?;
        let verdict = package.verdict.as_ref().filter(|verdict| verdict.refuses_signed(signature))?;
        Some(verdict.reasons.clone())
    }

    /// The version that hosts are to serve.
    pub fn live(&self) -> Option<&PublishedPackage> {
        self.packages.iter().find(|package| package.latest)
    }

    /// The version to go back to: the newest before the live one that no host refused.
    pub fn before_live(&self) -> Option<&Version> {
        let live = self.live()?.at;
        let earlier = self.packages.iter().filter(|package| !package.latest && package.at <= live);
        earlier.filter(|package| !package.is_refused()).find_map(|package| package.version.as_ref())
    }

    /// What may be removed when the newest `keep` versions stay: never the live one, the one to go back to, or the last
    /// one that was good. Hosts have what they serve on their own disks.
    pub fn prunable(&self, keep: usize) -> Vec<&PublishedPackage> {
        let good = |package: &&PublishedPackage| package.verdict.as_ref().is_some_and(|v| v.is_good());
        let last_good = self.packages.iter().find(good).map(|package| &package.key);
        let before = self.before_live();
        let versions = self.packages.iter().filter(|package| package.version.is_some());
        let old = versions.skip(keep).filter(|package| {
            !package.latest
                && Some(&package.key) != last_good
                && (before.is_none() || package.version.as_ref() != before)
        });
        old.collect()
    }
}

impl PublishedPackage {
    /// Whether a host refused it.
    pub fn is_refused(&self) -> bool {
        self.verdict.as_ref().is_some_and(Verdict::refuses)
    }
}

impl HostReports {
    /// Reads what hosts have said, of which `objects` are a listing.
    ///
    /// # Errors
    /// What S3 refuses.
    pub(super) async fn read(
        publisher_bucket: &PublisherBucket,
        layout: &Layout,
        objects: &[Release],
    ) -> Result<HostReports, Fault> {
        let mut said = HostReports::default();
        let verdicts = objects.iter().filter(|object| layout.is_verdict(&object.key));
        said.verdicts = said.beside(publisher_bucket, verdicts).await?;
        let hosts = objects.iter().filter(|object| layout.is_host(&object.key));
        said.hosts = of_today(said.beside(publisher_bucket, hosts).await?);
        // How they are `spothost status` tells.
        said.hosts.iter_mut().for_each(|host| host.document.status = None);
        Ok(said)
    }

    /// Reads the newest of these objects.
    async fn beside<D: Document>(
        &mut self,
        publisher_bucket: &PublisherBucket,
        objects: impl Iterator<Item = &Release>,
    ) -> Result<Vec<Dated<D>>, Fault> {
        let mut objects: Vec<_> = objects.filter(|object| object.length <= LARGEST).collect();
        objects.sort_unstable_by_key(|object| std::cmp::Reverse(object.modified));
        objects.truncate(MOST_READ);
        let reading = objects.into_iter().map(|object| async move {
            let content = publisher_bucket.read(&object.key, None).await?;
            Ok::<_, Fault>((object, content))
        });
        let contents: Vec<_> = stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
        let mut documents = Vec::new();
        for (object, content) in contents {
            // It was deleted since it was listed.
            let Some(content) = content else { continue };
            match D::read(&content) {
                Ok(document) => documents.push(Dated { document, written: object.modified }),
                Err(why) => {
                    let told = why.fault(format!("reading {}", object.key), NOT_OURS).to_string();
                    self.unread.push(told);
                }
            }
        }
        Ok(documents)
    }
}

/// What cures a document that is none.
const NOT_OURS: &str = "delete that object: no host has written it";

/// Hosts as they are today: an instance that is gone has left its last word, so of several owners the last to speak is
/// the one.
pub(super) fn of_today(mut hosts: Vec<Dated<HostDocument>>) -> Vec<Dated<HostDocument>> {
    let owner = hosts.iter().filter(|host| host.document.is_owner()).map(|host| host.written).max();
    for host in hosts.iter_mut().filter(|host| host.document.is_owner() && Some(host.written) != owner) {
        host.document.role = HostRole::Other("owner before".to_owned());
    }
    hosts
}

/// An ETag without its quotes.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::documents::VerdictOutcome;

    const BEGIN: OffsetDateTime = time::macros::datetime!(2026-11-21 12:00:00 UTC);

    fn version(number: i64) -> Version {
        Version::new(BEGIN + Duration::minutes(number), &format!("{number:012x}"))
    }

    fn release(key: &str, number: i64) -> Release {
        let modified = BEGIN + Duration::minutes(number);
        Release::plain(key, &format!("\"{key}\""), 1, modified)
    }

    fn verdict(number: i64, outcome: VerdictOutcome) -> Verdict {
        let judged = Release { named: Some(version(number).to_string()), ..release("x", number) };
        Verdict::on(&judged, outcome, "i-1", BEGIN, &["why".to_owned()])
    }

    fn said(verdicts: &[Verdict]) -> HostReports {
        let verdicts = verdicts.iter().map(|verdict| Dated { document: verdict.clone(), written: BEGIN }).collect();
        HostReports { verdicts, ..HostReports::default() }
    }

    /// Five versions, of which `live` is the live one.
    fn catalogue(live: i64, said: HostReports) -> Catalogue {
        let layout = Layout::new("www/");
        let mut objects: Vec<_> = (0..5).map(|number| release(&layout.version(&version(number)), number)).collect();
        let pointer = release(&layout.pointer(), 9);
        objects.push(pointer.clone());
        let label = Label { version: version(live), sha256: "0".into(), published: BEGIN, signature: None };
        let object = Object { etag: "\"p\"".into(), length: 1, modified: BEGIN, metadata: label.metadata() };
        Catalogue::of(&layout, &objects, Some(&(pointer, object)), said)
    }

    #[test]
    fn versions_come_newest_first_and_the_live_one_is_known() {
        let all = catalogue(3, HostReports::default());
        assert_eq!(all.versions().cloned().collect::<Vec<_>>(), [4, 3, 2, 1, 0].map(version));
        assert_eq!(all.live().and_then(|live| live.version.clone()), Some(version(3)));
        assert!(all.rivals.is_empty() && all.packages.len() == 5);
    }

    #[test]
    fn one_goes_back_to_the_newest_before_that_was_not_refused() {
        assert_eq!(catalogue(3, HostReports::default()).before_live(), Some(&version(2)));
        assert_eq!(catalogue(3, said(&[verdict(2, VerdictOutcome::Refused)])).before_live(), Some(&version(1)));
        assert_eq!(catalogue(0, HostReports::default()).before_live(), None);
        let both = said(&[verdict(2, VerdictOutcome::Refused), verdict(2, VerdictOutcome::Good)]);
        assert_eq!(catalogue(3, both).refusal(&version(2), None), Some(vec!["why".to_owned()]));
    }

    #[test]
    fn refusal_for_a_signature_holds_for_no_other() {
        let signed = serde_json::json!({ "signature": "none", "keys": "x" });
        let unsigned =
            Verdict { signed: serde_json::from_value(signed).expect("read"), ..verdict(2, VerdictOutcome::Refused) };
        let all = catalogue(3, said(&[unsigned]));
        assert!(all.refusal(&version(2), None).is_some() && all.refusal(&version(2), Some("a signature")).is_none());
    }

    #[test]
    fn refusal_of_a_version_that_this_program_does_not_give_is_of_what_has_its_entity_tag() {
        let foreign = |etag: &str| Verdict {
            version: Some("release 7".into()),
            etag: etag.into(),
            ..verdict(0, VerdictOutcome::Refused)
        };
        let own = format!("\"{}\"", Layout::new("www/").version(&version(2)));
        for (etag, refused) in [(own.as_str(), 2), ("www/site-latest.zip", 3)] {
            let all = catalogue(3, said(&[foreign(etag)]));
            let found = (0..5).filter(|number| all.refusal(&version(*number), None).is_some()).collect::<Vec<_>>();
            assert_eq!(found, [refused], "{etag}");
        }
    }

    #[test]
    fn live_previous_and_last_good_are_never_pruned() {
        let pruned =
            |all: &Catalogue, keep| all.prunable(keep).iter().filter_map(|p| p.version.clone()).collect::<Vec<_>>();
        let all = catalogue(4, said(&[verdict(1, VerdictOutcome::Good), verdict(3, VerdictOutcome::Refused)]));
        assert_eq!(pruned(&all, 1), [3, 0].map(version), "2 is gone back to, 1 was good");
        assert_eq!(pruned(&all, 5), []);
        assert_eq!(pruned(&catalogue(0, HostReports::default()), 0), [4, 3, 2, 1].map(version));
    }

    #[test]
    fn of_several_who_say_that_they_are_the_owner_the_last_one_is() {
        let host = |instance: &str, minute: i64| Dated {
            document: HostDocument {
                version: Some(version(0).to_string()),
                ..HostDocument::of(instance.into(), HostRole::Owner, BEGIN)
            },
            written: BEGIN + Duration::minutes(minute),
        };
        let hosts = of_today(vec![host("i-1", 1), host("i-2", 3), host("i-3", 2)]);
        let all = catalogue(4, HostReports { hosts, ..HostReports::default() });
        let served = &all.packages.last().expect("a package").served_by;
        let owners: Vec<_> = served.iter().filter(|host| host.is_owner()).map(|host| host.instance.as_str()).collect();
        assert_eq!((owners, served.len()), (vec!["i-2"], 3));
    }

    #[test]
    fn package_published_by_other_means_has_its_own_line() {
        let layout = Layout::new("www/");
        let objects = [release("www/a-latest.zip", 2), release("www/b-latest.zip", 1), release("www/site-7.zip", 0)];
        let object =
            Object { etag: "\"www/a-latest.zip\"".into(), length: 1, modified: BEGIN, metadata: Default::default() };
        // Also where its publisher has named it in a way of its own.
        let named = |version: Option<&str>| Verdict {
            version: version.map(str::to_owned),
            etag: "www/a-latest.zip".into(),
            ..verdict(0, VerdictOutcome::Good)
        };
        let of =
            |verdict| Catalogue::of(&layout, &objects, Some(&(objects[0].clone(), object.clone())), said(&[verdict]));
        assert!(of(named(Some("v7"))).packages[0].verdict.is_some());
        let all = of(named(None));
        let lines: Vec<_> = all.packages.iter().map(|p| (p.key.as_str(), p.latest, p.verdict.is_some())).collect();
        assert_eq!(lines, [("www/a-latest.zip", true, true), ("www/site-7.zip", false, false)]);
        assert_eq!(all.rivals, ["www/b-latest.zip"]);
    }
}
