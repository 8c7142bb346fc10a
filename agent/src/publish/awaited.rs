//! Waiting until the owner of the name serves the published version.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::catalogue::{Dated, HostReports, bare};
use crate::{
    aws::publisher_bucket::{Object, PublisherBucket},
    documents::{HostDocument, Label, Layout, Verdict, Version, layout::BESIDE},
    fault::{Cure, Fault},
};

/// How often is looked: two calls a look.
const EVERY: Duration = Duration::from_secs(2);

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The owner serves it.
    Served {
        /// Which instance.
        by: String,
    },
    /// A host has refused it.
    Refused {
        /// Which instance.
        by: String,
        /// Why.
        reasons: Vec<String>,
    },
    /// Another version was published meanwhile.
    Replaced {
        /// What, if it was published by this program.
        by: Option<Version>,
    },
    /// No host has reported on it in time.
    Unheard {
        /// What hosts have said that could not be read, and why, for a person.
        unread: Vec<String>,
    },
}

/// The release that is waited for.
#[derive(Clone, Debug)]
struct AwaitedRelease {
    label: Label,
    pointer: Object,
}

/// Waits at most `limit` until the owner serves that version, which the pointer with that ETag leads to, or a host has
/// refused it.
///
/// # Errors
/// What only a person can cure; other faults are waited out.
pub async fn wait(
    publisher_bucket: &PublisherBucket,
    label: &Label,
    etag: &str,
    limit: Duration,
) -> Result<Awaited, Fault> {
    let end = Instant::now() + limit;
    let layout = Layout::new(&publisher_bucket.place().prefix);
    let mut unread = Vec::new();
    loop {
        match look(publisher_bucket, &layout, label, etag).await {
            Ok(Awaited::Unheard { unread: now }) => unread = now,
            Ok(ended) => return Ok(ended),
            Err(fault) if fault.cure == Cure::Operator => return Err(fault),
            Err(_) => {}
        }
        if Instant::now() + EVERY > end {
            return Ok(Awaited::Unheard { unread });
        }
        sleep(EVERY).await;
    }
}

async fn look(
    publisher_bucket: &PublisherBucket,
    layout: &Layout,
    label: &Label,
    etag: &str,
) -> Result<Awaited, Fault> {
    let pointer = match publisher_bucket.look(&layout.pointer()).await? {
        Some(pointer) if pointer.etag == etag && Label::of(&pointer.metadata).as_ref() == Some(label) => pointer,
        other => {
            let by = other.and_then(|pointer| Label::of(&pointer.metadata)).map(|label| label.version);
            return Ok(Awaited::Replaced { by });
        }
    };
    let objects = publisher_bucket.list(BESIDE).await?;
    let said = HostReports::read(publisher_bucket, layout, &objects).await?;
    let heard = AwaitedRelease { label: label.clone(), pointer }.heard(&said.verdicts, &said.hosts);
    Ok(heard.unwrap_or(Awaited::Unheard { unread: said.unread }))
}

impl AwaitedRelease {
    /// What was heard of it. A word that is older than the pointer is of an earlier time, when the same version was
    /// served before; a refusal holds for ever, but one for the signature only for that one.
    fn heard(&self, verdicts: &[Dated<Verdict>], hosts: &[Dated<HostDocument>]) -> Option<Awaited> {
        let of_it =
            verdicts.iter().filter(|said| self.is(said.document.published_version(), Some(&said.document.etag)));
        let signature = self.label.signature.as_deref();
        if let Some(Dated { document: refused, .. }) =
            of_it.clone().find(|said| said.document.refuses_signed(signature))
        {
            return Some(Awaited::Refused { by: refused.by.clone(), reasons: refused.reasons.clone() });
        }
        let since = self.pointer.modified;
        let serves =
            |host: &HostDocument| host.has_visitors() && self.is(host.published_version(), host.etag.as_deref());
        let host = hosts.iter().find(|said| said.written >= since && serves(&said.document));
        // A verdict of "good" may be that of a spare, which no visitor reaches.
        let visited = |by: &str| {
            let is_visited = |host: &HostDocument| host.instance == by && host.has_visitors();
            hosts.is_empty() || hosts.iter().any(|said| is_visited(&said.document))
        };
        let good =
            of_it.clone().find(|said| said.document.is_good() && said.written >= since && visited(&said.document.by));
        let by = host.map(|said| &said.document.instance).or(good.map(|said| &said.document.by));
        by.map(|by| Awaited::Served { by: by.clone() })
    }

    /// Whether that is said of it: by its version where one of ours is told, else by the ETag.
    fn is(&self, version: Option<Version>, etag: Option<&str>) -> bool {
        match version {
            Some(version) => version == self.label.version,
            None => etag.is_some_and(|etag| bare(etag) == bare(&self.pointer.etag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime, macros::datetime};

    use super::*;
    use crate::documents::{Document as _, HostRole, Release, Signed, VerdictOutcome};

    const MOVED: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);

    fn wanted() -> AwaitedRelease {
        let pointer = Object { etag: "\"e\"".into(), length: 1, modified: MOVED, metadata: Default::default() };
        let version = Version::new(MOVED, "0123456789ab");
        let label = Label { version, sha256: "0".into(), published: MOVED, signature: Some("a signature".into()) };
        AwaitedRelease { label, pointer }
    }

    fn verdict(outcome: VerdictOutcome, written: OffsetDateTime) -> Dated<Verdict> {
        let named = Some(wanted().label.version.to_string());
        let judged = Release { named, ..Release::plain("k", "e", 1, written) };
        Dated { document: Verdict::on(&judged, outcome, "i-1", written, &["why".to_owned()]), written }
    }

    fn host(role: &str, written: OffsetDateTime) -> Dated<HostDocument> {
        let version = Some(wanted().label.version.to_string());
        let said = HostDocument::of("i-2".into(), HostRole::from(role.to_owned()), written);
        Dated { document: HostDocument { version, etag: Some("e".into()), ..said }, written }
    }

    /// A package whose object names a version that this program does not give, as one that was uploaded by other means.
    #[test]
    fn refusal_of_a_foreign_version_is_heard_by_the_entity_tag() {
        let written = r#"{"format":1,"key":"www/site-latest.zip","etag":"\"e\"","version":"release 7","verdict":"refused",
            "by":"i-1","at":"2026-11-21T12:00:00Z","reasons":["why"],"mood":"of a later version"}"#;
        let read = |text: &str| Dated { document: Verdict::read(text.as_bytes()).expect(text), written: MOVED };
        let refused = Some(Awaited::Refused { by: "i-1".into(), reasons: vec!["why".into()] });
        assert_eq!(wanted().heard(&[read(written)], &[]), refused);
        assert_eq!(wanted().heard(&[read(&written.replace("e\\\"", "another\\\""))], &[]), None);
    }

    #[test]
    fn owner_s_word_counts_when_it_is_younger_than_the_pointer_and_a_refusal_always() {
        let before = MOVED - Duration::SECOND;
        let after = MOVED + Duration::SECOND;
        let served = |by: &str| Some(Awaited::Served { by: by.into() });
        let refused = Some(Awaited::Refused { by: "i-1".into(), reasons: vec!["why".into()] });
        let dated = |document: Verdict| Dated { document, written: after };
        let good = verdict(VerdictOutcome::Good, after).document;
        let another = Some(Version::new(before, "0123456789ab").to_string());
        let foreign = dated(Verdict { version: another, ..good.clone() });
        let by_etag = dated(Verdict { version: None, ..good.clone() });
        let signed: Signed = serde_json::from_str(r#"{"signature":"none","keys":"x"}"#).expect("read");
        let unsigned = dated(verdict(VerdictOutcome::Refused, after).document.on_signature(signed));
        let by_spare = dated(Verdict { by: "i-2".into(), ..good });
        let table = [
            (vec![], vec![], None),
            (vec![], vec![host("owner", after)], served("i-2")),
            (vec![], vec![host("owner", before)], None),
            (vec![], vec![host("standby", after)], None),
            // It keeps no names: the host that leads them to it does.
            (vec![], vec![host("serving", after)], served("i-2")),
            (vec![verdict(VerdictOutcome::Good, after)], vec![], served("i-1")),
            (vec![verdict(VerdictOutcome::Good, before)], vec![], None),
            (vec![by_etag], vec![], served("i-1")),
            (vec![foreign], vec![], None),
            // A spare has found it good, and the owner does not serve it yet.
            (vec![by_spare.clone()], vec![host("standby", after)], None),
            (vec![by_spare.clone()], vec![host("owner", before)], served("i-2")),
            (vec![verdict(VerdictOutcome::Good, after)], vec![host("owner", before)], None),
            // It was refused when it was not signed.
            (vec![unsigned], vec![host("owner", after)], served("i-2")),
            (vec![verdict(VerdictOutcome::Refused, before)], vec![host("owner", after)], refused),
        ];
        for (verdicts, hosts, expected) in table {
            assert_eq!(wanted().heard(&verdicts, &hosts), expected, "{verdicts:?} {hosts:?}");
        }
    }
}
