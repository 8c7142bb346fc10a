//! What stands in DNS while the CA looks (dns-01, RFC 8555 §8.4).
//!
//! DNS-01 is independent of where the address record points: only with it can a host be certified before the name
//! moves to it. Values of others at the same name (another host's order, another tool's) are left alone.

use std::collections::BTreeMap;

use crate::{
    aws::zone::{Changed, RecordChange, RecordType, Records, Zone},
    fault::{Cure, Fault},
    place::Name,
};

/// How long resolvers may keep a challenge.
const TTL: u32 = 30;
/// How often a change is tried again after another host's change of the same name.
const TRIES: usize = 4;

/// A value that has to stand at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    name: String,
    value: String,
}

impl Proof {
    /// The proof for a host name; a wildcard is proven at the name it stands before.
    pub(super) fn new(host: &str, value: &str) -> Proof {
        Proof { name: format!("_acme-challenge.{}", host.trim_start_matches("*.")), value: format!("\"{value}\"") }
    }
}

/// Makes sure that the proofs for `names` can stand in `zone`, before the CA is asked for anything: an order whose proof
/// cannot be written counts as one that failed.
///
/// # Errors
/// A name of another zone; a CNAME where a proof is to stand; what Route 53 refuses.
pub(super) async fn can_be_published(zone: &Zone, names: &[Name]) -> Result<(), Fault> {
    let at = |host: &Name| Proof::new(host.as_str(), "").name;
    let reading = async {
        let mut read = Vec::new();
        for host in names {
            read.push(zone.records(&at(host)).await);
        }
        read
    };
    let (apex, read) = tokio::join!(Box::pin(zone.apex()), Box::pin(reading));
    let apex = apex?;
    for (host, read) in names.iter().zip(read) {
        let name = at(host);
        let records = match read {
            // This look spares an attempt, and an order is not given up for it where Route 53 is asked too often.
            Err(fault) if matches!(fault.cure, Cure::Wait(_)) => Vec::new(),
            // A name of another zone is told of whatever came of reading it.
            Err(_) if !is_in(&name, &apex.name) => Vec::new(),
            read => read?,
        };
        provable(host, &name, &apex.name, &records)?;
    }
    Ok(())
}

/// Whether a proof for `host` can stand at `name` in the zone of that apex, which holds `records` there.
fn provable(host: &Name, name: &str, apex: &str, records: &[Records]) -> Result<(), Fault> {
    let doing = format!("preparing to prove {host} to the CA");
    if !is_in(name, apex) {
        let said = format!("{name} is not in the zone {apex}, which `zone` names");
        let remedy = format!("take {host} out of `aliases`, or name the zone that all names are in");
        return Err(Fault::operator(doing, said, remedy));
    }
    // RFC 1034 §3.6.2: a name with a CNAME has nothing else.
    match records.iter().find(|set| set.kind == RecordType::Cname) {
        Some(alias) => {
            let leads = alias.values.first().map_or("another name", String::as_str);
            let said = format!("there is a CNAME at {name}, which leads to {leads}: no proof can stand there");
            Err(Fault::operator(doing, said, format!("remove the CNAME at {name}")))
        }
        None => Ok(()),
    }
}

fn is_in(name: &str, apex: &str) -> bool {
    name.strip_suffix(apex).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The proofs of one order.
pub(super) struct Challenges<'a> {
    zone: &'a Zone,
    wanted: BTreeMap<String, Vec<String>>,
}

impl<'a> Challenges<'a> {
    pub(super) fn new(zone: &'a Zone, proofs: Vec<Proof>) -> Challenges<'a> {
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for proof in proofs {
            wanted.entry(proof.name).or_default().push(proof.value);
        }
        Challenges { zone, wanted }
    }

    /// Adds the values and waits until all name servers know.
    pub(super) async fn publish(&self) -> Result<(), Fault> {
        match self.change("spothost: challenge", with).await? {
            Some(id) => self.zone.in_sync(&id).await,
            None => Ok(()),
        }
    }

    /// Removes the values again. One that cannot be removed is of no use to anybody, and harms nobody.
    pub(super) async fn remove(self) {
        if let Err(fault) = self.change("spothost: challenge is over", without).await {
            tracing::warn!(%fault, "challenge records were not removed");
        }
    }

    /// Reads all names, plans with `plan`, and changes them in one batch; read again when another writer was faster.
    async fn change(
        &self,
        why: &str,
        plan: fn(Option<&Records>, &str, &[String]) -> Vec<RecordChange>,
    ) -> Result<Option<String>, Fault> {
        let mut differed = String::new();
        for _ in 0..TRIES {
            let mut steps = Vec::new();
            for (name, values) in &self.wanted {
                let records = self.zone.records(name).await?;
                let now = records.iter().find(|set| set.kind == RecordType::Txt);
                steps.extend(plan(now, name, values));
            }
            if steps.is_empty() {
                return Ok(None);
            }
            match self.zone.change(why, &steps).await? {
                Changed::Accepted(id) => return Ok(Some(id)),
                Changed::Differed(said) => differed = said,
            }
        }
        Err(Fault::retry("changing the challenge records", differed))
    }
}

/// The steps that add `values` to what stands at `name` now.
fn with(now: Option<&Records>, name: &str, values: &[String]) -> Vec<RecordChange> {
    let there = now.map_or(&[][..], |set| &set.values);
    let missing: Vec<_> = values.iter().filter(|value| !there.contains(value)).cloned().collect();
    if missing.is_empty() { Vec::new() } else { swapped(now, name, there.iter().cloned().chain(missing).collect()) }
}

/// The steps that remove `values` from what stands at `name` now.
fn without(now: Option<&Records>, name: &str, values: &[String]) -> Vec<RecordChange> {
    let there = now.map_or(&[][..], |set| &set.values);
    if !there.iter().any(|value| values.contains(value)) {
        Vec::new()
    } else {
        swapped(now, name, there.iter().filter(|value| !values.contains(value)).cloned().collect())
    }
}

/// A batch that deletes exactly the sets that were read is refused when another writer changed them in between.
fn swapped(now: Option<&Records>, name: &str, values: Vec<String>) -> Vec<RecordChange> {
    let mut steps: Vec<_> = now.cloned().map(RecordChange::Delete).into_iter().collect();
    if !values.is_empty() {
        let ttl = now.and_then(|set| set.ttl).unwrap_or(TTL);
        steps.push(RecordChange::Create(Records::simple(name, RecordType::Txt, ttl, values)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "_acme-challenge.a.example";

    fn set(values: &[&str]) -> Records {
        Records::simple(NAME, RecordType::Txt, TTL, values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn values_of_others_stay_when_ours_come_and_go() {
        let ours = ["\"ours\"".to_owned()];
        let delete = |values: &[&str]| RecordChange::Delete(set(values));
        let create = |values: &[&str]| RecordChange::Create(set(values));
        assert_eq!(with(None, NAME, &ours), [create(&["\"ours\""])]);
        let theirs = set(&["\"theirs\""]);
        assert_eq!(with(Some(&theirs), NAME, &ours), [delete(&["\"theirs\""]), create(&["\"theirs\"", "\"ours\""])]);
        let both = set(&["\"theirs\"", "\"ours\""]);
        assert_eq!(with(Some(&both), NAME, &ours), []);
        assert_eq!(without(Some(&both), NAME, &ours), [delete(&["\"theirs\"", "\"ours\""]), create(&["\"theirs\""])]);
        assert_eq!(without(Some(&set(&["\"ours\""])), NAME, &ours), [delete(&["\"ours\""])]);
        assert_eq!(without(Some(&theirs), NAME, &ours), []);
        assert_eq!(without(None, NAME, &ours), []);
    }

    #[test]
    fn name_that_cannot_be_proven_is_told_with_its_cure() {
        let cname = Records { kind: RecordType::Cname, values: vec!["proofs.example.net".into()], ..set(&[]) };
        let table = [
            ("a.example", "a.example", vec![], None),
            ("a.example", "example", vec![set(&["\"v\""])], None),
            ("*.a.example", "a.example", vec![], None),
            ("a.example", "b.example", vec![], Some("take a.example out of `aliases`")),
            ("xa.example", "a.example", vec![], Some("is not in the zone a.example")),
            ("a.example", "a.example", vec![cname], Some("remove the CNAME at _acme-challenge.a.example")),
        ];
        for (host, apex, records, said) in table {
            let host: Name = host.parse().expect("a name");
            let name = Proof::new(host.as_str(), "").name;
            let fault = provable(&host, &name, apex, &records).err();
            assert_eq!(fault.is_some(), said.is_some(), "{host} in {apex}: {fault:?}");
            if let (Some(fault), Some(said)) = (fault, said) {
                assert!(fault.to_string().contains(said), "{fault}");
            }
        }
    }

    #[test]
    fn wildcard_is_proven_at_the_name_it_stands_before() {
        assert_eq!(Proof::new("*.a.example", "v"), Proof::new("a.example", "v"));
        assert_eq!(Proof::new("a.example", "v").name, NAME);
    }
}
