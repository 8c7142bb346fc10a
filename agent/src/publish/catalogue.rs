//! Everything that is published in a folder, what hosts said of it, and who serves what.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;

use super::{Keys, Label};
use crate::{
    aws::depot::{Depot, Object},
    documents::{Release, Signed, Version},
    fault::Fault,
    package::{is_latest, newest},
};

/// No more of the newest objects beside the packages are read than this: hosts come and go.
const MOST_READ: usize = 200;
const AT_ONCE: usize = 8;

/// What a host found of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// ETag of the package that it saw, without quotes or with them.
    pub etag: String,
    /// The package's version, if it had one.
    pub version: Option<Version>,
    /// What it found.
    pub verdict: Finding,
    /// Who.
    pub by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why, where it was refused.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// How it was signed, where that is why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// When the verdict was written, by S3's clock.
    #[serde(skip, default = "never")]
    pub written: OffsetDateTime,
}

/// Whether a package was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It was served.
    Good,
    /// No host serves it.
    Refused,
}

/// What a host says that it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The instance.
    pub instance: String,
    /// Whether the name leads to it: `owner`, or something else.
    pub role: String,
    /// Version of the package that it serves, if it has one.
    pub version: Option<Version>,
    /// ETag of the package that it serves.
    pub etag: Option<String>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Its public address.
    #[serde(default)]
    pub address: Option<String>,
    /// Version of the program that it runs.
    #[serde(default)]
    pub program: Option<String>,
    /// When it said so, by S3's clock.
    #[serde(skip, default = "never")]
    pub written: OffsetDateTime,
}

/// One package that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
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
    pub served_by: Vec<Serving>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The packages, the newest first.
    pub packages: Vec<Published>,
    /// Further objects that say that they are the latest.
    pub rivals: Vec<String>,
}

fn never() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}

impl Verdict {
    /// Whether it refuses the package that is signed so, or not at all.
    pub fn refuses(&self, signature: Option<&str>) -> bool {
        self.verdict == Finding::Refused && self.signed.as_ref().is_none_or(|signed| signed.has(signature))
    }
}

impl Serving {
    /// Whether visitors are led to it: as the owner of the names, or because it keeps none and somebody else does.
    pub fn has_visitors(&self) -> bool {
        self.is_owner() || self.role == "serving"
    }

    /// Whether the name leads to this host.
    pub fn is_owner(&self) -> bool {
        self.role == "owner"
    }
}

impl Catalogue {
    /// Reads what is published in that depot.
    ///
    /// # Errors
    /// What S3 refuses.
    pub async fn read(depot: &Depot) -> Result<Catalogue, Fault> {
        let keys = Keys::new(&depot.place().prefix);
        let objects = depot.list("").await?;
        let verdicts: Vec<Verdict> =
            beside(depot, objects.iter().filter(|object| keys.is_verdict(&object.key))).await?;
        let hosts: Vec<Serving> = beside(depot, objects.iter().filter(|object| keys.is_host(&object.key))).await?;
        let pointed = match newest(&objects, depot.place()) {
            Some(latest) => depot.look(&latest.key).await?.map(|object| (latest.clone(), object)),
            None => None,
        };
        let packages: Vec<_> = objects.into_iter().filter(|object| depot.place().holds(&object.key)).collect();
        Ok(Catalogue::of(&keys, &packages, pointed.as_ref(), &verdicts, &of_today(hosts)))
    }

    fn of(
        keys: &Keys,
        objects: &[Release],
        pointed: Option<&(Release, Object)>,
        verdicts: &[Verdict],
        hosts: &[Serving],
    ) -> Catalogue {
        let live = pointed.and_then(|(_, object)| Label::of(object)).map(|label| label.version);
        let mut packages: BTreeMap<&str, Published> = BTreeMap::new();
        for object in objects.iter().filter(|object| object.key.ends_with(".zip") || is_latest(&object.key)) {
            let is_pointer = pointed.is_some_and(|(pointer, _)| pointer.key == object.key);
            // The pointer is a copy of a version, which has its own line.
            let version = keys.version_of(&object.key);
            if version.is_none() && is_latest(&object.key) && !(is_pointer && live.is_none()) {
                continue;
            }
            let latest = is_pointer || (version.is_some() && version == live);
            let matches = |v: Option<&Version>, etag: Option<&str>| match (v, &version) {
                (Some(v), Some(version)) => v == version,
                (None, None) => etag.is_some_and(|etag| bare(etag) == bare(&object.etag)),
                _ => false,
            };
            let found = verdicts.iter().filter(|verdict| matches(verdict.version.as_ref(), Some(&verdict.etag)));
            let serving = hosts.iter().filter(|host| matches(host.version.as_ref(), host.etag.as_deref()));
            let published = Published {
                key: object.key.clone(),
                etag: object.etag.clone(),
                at: version.as_ref().map_or(object.modified, Version::at),
                written: object.modified,
                length: object.length,
                latest,
                // A package that was refused once stays so, whatever another host said.
                verdict: found.max_by_key(|verdict| (verdict.verdict == Finding::Refused, verdict.at)).cloned(),
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
        Catalogue { packages, rivals }
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
        let verdict = package.verdict.as_ref().filter(|verdict| verdict.refuses(signature))?;
        Some(verdict.reasons.clone())
    }

    /// The version that hosts are to serve.
    pub fn live(&self) -> Option<&Published> {
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
    pub fn prunable(&self, keep: usize) -> Vec<&Published> {
        let good = |package: &&Published| package.verdict.as_ref().is_some_and(|v| v.verdict == Finding::Good);
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

impl Published {
    /// Whether a host refused it.
    pub fn is_refused(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.verdict == Finding::Refused)
    }
}

/// Hosts as they are today: an instance that is gone has left its last word, so of several owners the last to speak is
/// the one.
pub(super) fn of_today(mut hosts: Vec<Serving>) -> Vec<Serving> {
    let owner = hosts.iter().filter(|host| host.is_owner()).map(|host| host.written).max();
    for host in hosts.iter_mut().filter(|host| host.is_owner() && Some(host.written) != owner) {
        "owner before".clone_into(&mut host.role);
    }
    hosts
}

/// An ETag without its quotes.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// When somebody wrote it, by S3's clock.
pub(super) trait Written {
    /// Notes when.
    fn written_at(self, at: OffsetDateTime) -> Self;
}

impl Written for Verdict {
    fn written_at(self, at: OffsetDateTime) -> Verdict {
        Verdict { written: at, ..self }
    }
}

impl Written for Serving {
    fn written_at(self, at: OffsetDateTime) -> Serving {
        Serving { written: at, ..self }
    }
}

/// Reads the newest of these objects. What is not understood was written by a newer program, or by somebody else.
pub(super) async fn beside<T: DeserializeOwned + Written>(
    depot: &Depot,
    objects: impl Iterator<Item = &Release>,
) -> Result<Vec<T>, Fault> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_unstable_by_key(|object| std::cmp::Reverse(object.modified));
    objects.truncate(MOST_READ);
    let reading = objects.into_iter().map(|object| async move {
        let content = depot.read(&object.key, None).await?;
        Ok(content
            .and_then(|content| serde_json::from_slice::<T>(&content).ok())
            .map(|said| said.written_at(object.modified)))
    });
    let read: Vec<Result<Option<T>, Fault>> = stream::iter(reading).buffered(AT_ONCE).collect().await;
    read.into_iter().filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::publish::pointer;

    const BEGIN: OffsetDateTime = time::macros::datetime!(2026-11-21 12:00:00 UTC);

    fn version(number: i64) -> Version {
        Version::new(BEGIN + Duration::minutes(number), &format!("{number:012x}"))
    }

    fn release(key: &str, number: i64) -> Release {
        let modified = BEGIN + Duration::minutes(number);
        Release::plain(key, &format!("\"{key}\""), 1, modified)
    }

    fn said(number: i64, verdict: Finding) -> Verdict {
        let version = Some(version(number));
        Verdict {
            etag: "x".into(),
            version,
            verdict,
            by: "i-1".into(),
            at: BEGIN,
            reasons: vec!["why".into()],
            signed: None,
            written: BEGIN,
        }
    }

    /// Five versions, of which `live` is the live one.
    fn catalogue(live: i64, verdicts: &[Verdict], hosts: &[Serving]) -> Catalogue {
        let keys = Keys::new("www/");
        let mut objects: Vec<_> = (0..5).map(|number| release(&keys.version(&version(number)), number)).collect();
        let pointer = release(&keys.pointer(), 9);
        objects.push(pointer.clone());
        let label = pointer::Label { version: version(live), sha256: "0".into(), published: BEGIN, signature: None };
        let object = Object { etag: "\"p\"".into(), length: 1, modified: BEGIN, metadata: label.metadata() };
        Catalogue::of(&keys, &objects, Some(&(pointer, object)), verdicts, hosts)
    }

    #[test]
    fn versions_come_newest_first_and_the_live_one_is_known() {
        let all = catalogue(3, &[], &[]);
        assert_eq!(all.versions().cloned().collect::<Vec<_>>(), [4, 3, 2, 1, 0].map(version));
        assert_eq!(all.live().and_then(|live| live.version.clone()), Some(version(3)));
        assert!(all.rivals.is_empty() && all.packages.len() == 5);
    }

    #[test]
    fn one_goes_back_to_the_newest_before_that_was_not_refused() {
        assert_eq!(catalogue(3, &[], &[]).before_live(), Some(&version(2)));
        assert_eq!(catalogue(3, &[said(2, Finding::Refused)], &[]).before_live(), Some(&version(1)));
        assert_eq!(catalogue(0, &[], &[]).before_live(), None);
        let both = [said(2, Finding::Refused), said(2, Finding::Good)];
        assert_eq!(catalogue(3, &both, &[]).refusal(&version(2), None), Some(vec!["why".to_owned()]));
    }

    #[test]
    fn refusal_for_a_signature_holds_for_no_other() {
        let signed = serde_json::json!({ "signature": "none", "keys": "x" });
        let unsigned = Verdict { signed: serde_json::from_value(signed).expect("read"), ..said(2, Finding::Refused) };
        let all = catalogue(3, &[unsigned], &[]);
        assert!(all.refusal(&version(2), None).is_some() && all.refusal(&version(2), Some("a signature")).is_none());
    }

    #[test]
    fn live_previous_and_last_good_are_never_pruned() {
        let pruned =
            |all: &Catalogue, keep| all.prunable(keep).iter().filter_map(|p| p.version.clone()).collect::<Vec<_>>();
        let all = catalogue(4, &[said(1, Finding::Good), said(3, Finding::Refused)], &[]);
        assert_eq!(pruned(&all, 1), [3, 0].map(version), "2 is gone back to, 1 was good");
        assert_eq!(pruned(&all, 5), []);
        assert_eq!(pruned(&catalogue(0, &[], &[]), 0), [4, 3, 2, 1].map(version));
    }

    #[test]
    fn of_several_who_say_that_they_are_the_owner_the_last_one_is() {
        let host = |instance: &str, minute: i64| Serving {
            instance: instance.into(),
            role: "owner".into(),
            version: Some(version(0)),
            etag: None,
            since: BEGIN,
            address: None,
            program: None,
            written: BEGIN + Duration::minutes(minute),
        };
        let all = catalogue(4, &[], &of_today(vec![host("i-1", 1), host("i-2", 3), host("i-3", 2)]));
        let served = &all.packages.last().expect("a package").served_by;
        let owners: Vec<_> = served.iter().filter(|host| host.is_owner()).map(|host| host.instance.as_str()).collect();
        assert_eq!((owners, served.len()), (vec!["i-2"], 3));
    }

    #[test]
    fn package_published_by_other_means_has_its_own_line() {
        let keys = Keys::new("www/");
        let objects = [release("www/a-latest.zip", 2), release("www/b-latest.zip", 1), release("www/site-7.zip", 0)];
        let object =
            Object { etag: "\"www/a-latest.zip\"".into(), length: 1, modified: BEGIN, metadata: Default::default() };
        let verdict = Verdict { version: None, etag: "www/a-latest.zip".into(), ..said(0, Finding::Good) };
        let all = Catalogue::of(&keys, &objects, Some(&(objects[0].clone(), object)), &[verdict], &[]);
        let lines: Vec<_> = all.packages.iter().map(|p| (p.key.as_str(), p.latest, p.verdict.is_some())).collect();
        assert_eq!(lines, [("www/a-latest.zip", true, true), ("www/site-7.zip", false, false)]);
        assert_eq!(all.rivals, ["www/b-latest.zip"]);
    }

    #[test]
    fn verdicts_and_hosts_are_read_as_hosts_write_them() {
        let verdict = r#"{"format":1,"key":"www/site-latest.zip","etag":"abc","version":"20261121T120000Z-0123456789ab",
            "verdict":"refused","by":"i-1","at":"2026-11-21T12:00:00Z","reasons":["index"]}"#;
        let verdict: Verdict = serde_json::from_str(verdict).expect("a verdict");
        assert_eq!((verdict.verdict, verdict.reasons.len()), (Finding::Refused, 1));
        let host = r#"{"format":1,"instance":"i-1","role":"owner","version":null,"etag":"\"abc\"",
            "since":"2026-11-21T12:00:00Z","address":"192.0.2.1","program":"0.1.0"}"#;
        let host: Serving = serde_json::from_str(host).expect("a host");
        assert!(host.is_owner() && host.version.is_none());
    }
}
