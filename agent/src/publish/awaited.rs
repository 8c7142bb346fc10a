//! Waiting until the owner of the name serves what was published.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Keys, Label,
    catalogue::{Finding, Serving, Verdict, bare, beside, of_today},
    keys::BESIDE,
};
use crate::{
    aws::depot::{Depot, Object},
    documents::Version,
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
    /// Somebody has published something else meanwhile.
    Replaced {
        /// What, if it was published by this program.
        by: Option<Version>,
    },
    /// Nobody has said anything of it in time.
    Unheard,
}

/// What is waited for.
#[derive(Clone, Debug)]
struct Wanted {
    label: Label,
    pointer: Object,
}

/// Waits at most `limit` until the owner serves that version, which the pointer with that ETag leads to, or a host has
/// refused it.
///
/// # Errors
/// What only a person can cure; other faults are waited out.
pub async fn wait(depot: &Depot, label: &Label, etag: &str, limit: Duration) -> Result<Awaited, Fault> {
    let end = Instant::now() + limit;
    let keys = Keys::new(&depot.place().prefix);
    loop {
        match look(depot, &keys, label, etag).await {
            Ok(Some(ended)) => return Ok(ended),
            Err(fault) if fault.cure == Cure::Operator => return Err(fault),
            Ok(None) | Err(_) => {}
        }
        if Instant::now() + EVERY > end {
            return Ok(Awaited::Unheard);
        }
        sleep(EVERY).await;
    }
}

async fn look(depot: &Depot, keys: &Keys, label: &Label, etag: &str) -> Result<Option<Awaited>, Fault> {
    let pointer = match depot.look(&keys.pointer()).await? {
        Some(pointer) if pointer.etag == etag && Label::of(&pointer).as_ref() == Some(label) => pointer,
        other => {
            let by = other.and_then(|pointer| Label::of(&pointer)).map(|label| label.version);
            return Ok(Some(Awaited::Replaced { by }));
        }
    };
    let objects = depot.list(BESIDE).await?;
    let verdicts: Vec<Verdict> = beside(depot, objects.iter().filter(|object| keys.is_verdict(&object.key))).await?;
    let hosts: Vec<Serving> = beside(depot, objects.iter().filter(|object| keys.is_host(&object.key))).await?;
    Ok(Wanted { label: label.clone(), pointer }.heard(&verdicts, &of_today(hosts)))
}

impl Wanted {
    /// What was heard of it. A word that is older than the pointer is of an earlier time, when the same version was
    /// served before; a refusal holds for ever, but one for the signature only for that one.
    fn heard(&self, verdicts: &[Verdict], hosts: &[Serving]) -> Option<Awaited> {
        let of_it = |verdict: &&Verdict| self.is(verdict.version.as_ref(), Some(&verdict.etag));
        let signature = self.label.signature.as_deref();
        if let Some(refused) = verdicts.iter().filter(of_it).find(|verdict| verdict.refuses(signature)) {
            return Some(Awaited::Refused { by: refused.by.clone(), reasons: refused.reasons.clone() });
        }
        let since = self.pointer.modified;
        let serves = |host: &&Serving| host.has_visitors() && self.is(host.version.as_ref(), host.etag.as_deref());
        let host = hosts.iter().filter(serves).find(|host| host.written >= since).map(|host| &host.instance);
        // That it is good may be a spare's word, which nobody visits.
        let visited =
            |by: &str| hosts.is_empty() || hosts.iter().any(|host| host.instance == by && host.has_visitors());
        let good =
            |verdict: &&Verdict| verdict.verdict == Finding::Good && verdict.written >= since && visited(&verdict.by);
        let good = verdicts.iter().filter(of_it).find(good).map(|verdict| &verdict.by);
        host.or(good).map(|by| Awaited::Served { by: by.clone() })
    }

    /// Whether that is said of it: by its version where one is told, else by the ETag.
    fn is(&self, version: Option<&Version>, etag: Option<&str>) -> bool {
        match version {
            Some(version) => *version == self.label.version,
            None => etag.is_some_and(|etag| bare(etag) == bare(&self.pointer.etag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime, macros::datetime};

    use super::*;
    use crate::documents::Signed;

    const MOVED: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);

    fn wanted() -> Wanted {
        let pointer = Object { etag: "\"e\"".into(), length: 1, modified: MOVED, metadata: Default::default() };
        let version = Version::new(MOVED, "0123456789ab");
        let label = Label { version, sha256: "0".into(), published: MOVED, signature: Some("a signature".into()) };
        Wanted { label, pointer }
    }

    fn verdict(verdict: Finding, written: OffsetDateTime) -> Verdict {
        let version = Some(wanted().label.version);
        Verdict {
            etag: "e".into(),
            version,
            verdict,
            by: "i-1".into(),
            at: written,
            reasons: vec!["why".into()],
            signed: None,
            written,
        }
    }

    fn host(role: &str, written: OffsetDateTime) -> Serving {
        let (version, etag) = (Some(wanted().label.version), Some("e".to_owned()));
        Serving {
            instance: "i-2".into(),
            role: role.into(),
            version,
            etag,
            since: written,
            address: None,
            program: None,
            written,
        }
    }

    #[test]
    fn owner_s_word_counts_when_it_is_younger_than_the_pointer_and_a_refusal_always() {
        let (before, after) = (MOVED - Duration::SECOND, MOVED + Duration::SECOND);
        let served = |by: &str| Some(Awaited::Served { by: by.into() });
        let refused = Some(Awaited::Refused { by: "i-1".into(), reasons: vec!["why".into()] });
        let foreign = Verdict { version: Some(Version::new(before, "0123456789ab")), ..verdict(Finding::Good, after) };
        let by_etag = Verdict { version: None, ..verdict(Finding::Good, after) };
        let unsigned: Signed = serde_json::from_str(r#"{"signature":"none","keys":"x"}"#).expect("read");
        let unsigned = Verdict { signed: Some(unsigned), ..verdict(Finding::Refused, after) };
        let by_spare = Verdict { by: "i-2".into(), ..verdict(Finding::Good, after) };
        let table = [
            (vec![], vec![], None),
            (vec![], vec![host("owner", after)], served("i-2")),
            (vec![], vec![host("owner", before)], None),
            (vec![], vec![host("standby", after)], None),
            // It keeps no names: whoever leads them to it does.
            (vec![], vec![host("serving", after)], served("i-2")),
            (vec![verdict(Finding::Good, after)], vec![], served("i-1")),
            (vec![verdict(Finding::Good, before)], vec![], None),
            (vec![by_etag], vec![], served("i-1")),
            (vec![foreign], vec![], None),
            // A spare has found it good, and the owner does not serve it yet.
            (vec![by_spare.clone()], vec![host("standby", after)], None),
            (vec![by_spare.clone()], vec![host("owner", before)], served("i-2")),
            (vec![verdict(Finding::Good, after)], vec![host("owner", before)], None),
            // It was refused when it was not signed.
            (vec![unsigned], vec![host("owner", after)], served("i-2")),
            (vec![verdict(Finding::Refused, before)], vec![host("owner", after)], refused),
        ];
        for (verdicts, hosts, expected) in table {
            assert_eq!(wanted().heard(&verdicts, &hosts), expected, "{verdicts:?} {hosts:?}");
        }
    }
}
