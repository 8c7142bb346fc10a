//! Route: every host is led to, by records of its own.
//!
//! Each host has multivalue answer records of its own, told from the others' by its instance id, with a health check on them:
//! Route 53 and the fleet do the distributing. A host takes its records away when it departs, unless they are the last, and
//! any host sweeps those of hosts that do not answer and are gone, as EC2 tells, or long silent where EC2 knows nothing of
//! them ([`strays`]). No host holds the names alone, so there is no succession.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::{
    Route, RoutingInputs, all_name_servers_know,
    last_refusal::LastRefusal,
    plan::{DesiredRouting, RoutingPlan},
};
use crate::{
    aws::{
        Aws, Host, InstanceState,
        compute::IS_BUILT_IN,
        health::{CheckedEndpoint, HealthChecks},
        zone::{Changed, Many, MultivalueAnswer, RecordType, Records},
    },
    claim::{Claim, NameService, Routing, claim_name, is_alive, is_instance_id, records},
    fault::Fault,
};

mod plan;
mod strays;

use plan::{Checks, Zoned, plan, withdrawal};
use strays::{Sighting, Strays};

/// How often the health checks of the account are listed, for those that nothing leads to any more.
const LIST: Duration = Duration::from_secs(3600);
/// How soon something about a health check is tried again that was refused.
const AGAIN: Duration = Duration::from_secs(120);
/// So many hosts are asked at the same time whether they answer.
const AT_ONCE: usize = 16;

/// Records of every host.
pub struct Multivalue {
    checks: Checks,
    /// The addresses that those checks are of.
    checked: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// That a health check could not be made, listed or deleted.
    refused: LastRefusal,
    listed: Option<Instant>,
    /// Hosts that EC2 does not know.
    strays: Strays,
    /// Since when this host watches them, and how long they may be silent.
    watched: (Instant, Duration),
    /// Health checks that nothing led to when they were listed before, of instances that EC2 does not know.
    unused: BTreeSet<String>,
}

/// One look at the records of all hosts.
#[derive(Clone)]
pub struct AnswersFound {
    zone: Zoned,
    /// Hosts that are gone.
    gone: Vec<String>,
    /// The health checks of this host's own addresses.
    checks: Checks,
    /// What was said when something about a health check was refused just now.
    refused: Option<Fault>,
    /// Health checks that nothing leads to any more.
    orphans: Vec<String>,
    /// What kept this host from seeing who is gone.
    blind: Option<Fault>,
}

/// A change of this host's records, checks, or those of hosts that are gone, and why.
pub struct AnswersChange {
    why: String,
    found: Box<AnswersFound>,
}

impl Multivalue {
    /// A host of another region may be silent for so long before its records are swept.
    pub fn new(patience: Duration) -> Multivalue {
        if !IS_BUILT_IN {
            tracing::warn!(
                "records of hosts that are gone are not swept: this program was built without the feature `fleet`, and \
                 cannot ask EC2"
            );
        }
        Multivalue {
            checks: Checks::default(),
            checked: (None, None),
            refused: LastRefusal::pausing(AGAIN),
            listed: None,
            strays: Strays::default(),
            watched: (Instant::now(), patience),
            unused: BTreeSet::new(),
        }
    }

    /// A check that stands on the host's own record is the check of that address; another address needs another.
    fn recognise(&mut self, host: &Host, answers: &[MultivalueAnswer]) {
        if self.checked != (host.ipv4, host.ipv6) {
            (self.checks, self.checked) = (Checks::default(), (host.ipv4, host.ipv6));
        }
        let of = |kind: RecordType, address: Option<String>| {
            let mine = |answer: &&MultivalueAnswer| answer.kind == kind && answer.identifier == host.instance;
            answers.iter().filter(mine).find(|own| own.values.first() == address.as_ref())
        };
        let v4 = of(RecordType::A, host.ipv4.map(|ip| ip.to_string()));
        let v6 = of(RecordType::Aaaa, host.ipv6.map(|ip| ip.to_string()));
        // One without a record was taken away with it, or is found again by its reference.
        self.checks.v4 = v4.and_then(|own| self.checks.v4.take().or_else(|| own.check.clone()));
        self.checks.v6 = v6.and_then(|own| self.checks.v6.take().or_else(|| own.check.clone()));
    }

    /// Lists the health checks of the domain now and then: the ids with their instances.
    async fn listed(&mut self, aws: &Aws, names: &NameService) -> Vec<(String, String)> {
        if self.listed.is_some_and(|at| at.elapsed() < LIST) || self.refused.lasts().is_some() {
            return Vec::new();
        }
        let Some(domain) = names.names.first() else { return Vec::new() };
        match HealthChecks::new(aws).of(domain.as_str()).await {
            Ok(checks) => {
                self.listed = Some(Instant::now());
                // A check that a person has deleted is gone.
                let is_there = |id: &String| checks.iter().any(|check| check.id == *id);
                self.checks.v4 = self.checks.v4.take().filter(is_there);
                self.checks.v6 = self.checks.v6.take().filter(is_there);
                checks.into_iter().map(|check| (check.id, check.instance)).collect()
            }
            Err(fault) => {
                self.refused.note(fault);
                Vec::new()
            }
        }
    }

    /// Makes the checks that are lacking. An obstacle to making one is no reason to lead no visitor here: Route 53 takes a
    /// record without one for healthy.
    async fn make_checks(&mut self, checks: &HealthChecks, names: &NameService, host: &Host, lacking: Vec<IpAddr>) {
        let Some(domain) = names.names.first().map(ToString::to_string) else { return };
        for ip in lacking {
            let endpoint =
                CheckedEndpoint { instance: host.instance.clone(), ip, port: names.port, domain: domain.clone() };
            match checks.make(&endpoint).await {
                Ok(id) => {
                    tracing::info!(%ip, id, "health check");
                    match ip {
                        IpAddr::V4(_) => self.checks.v4 = Some(id),
                        IpAddr::V6(_) => self.checks.v6 = Some(id),
                    }
                }
                Err(fault) => {
                    self.refused.note(fault);
                    return;
                }
            }
        }
    }

    /// Deletes health checks; what cannot be deleted is found again when they are listed the next time.
    async fn delete_checks(&mut self, checks: &HealthChecks, ids: BTreeSet<String>) {
        for id in ids {
            if let Err(fault) = checks.delete(&id).await {
                self.refused.note(fault);
                self.listed = None;
                return;
            }
        }
    }

    /// The instances among `ids` that are gone, and those that EC2 knows nothing of.
    async fn gone(
        &mut self,
        names: &NameService,
        RoutingInputs { aws, host, .. }: &RoutingInputs,
        ids: &[String],
        answers: &[MultivalueAnswer],
    ) -> Result<Gone, Fault> {
        if ids.is_empty() || !IS_BUILT_IN {
            return Ok(Gone::default());
        }
        let mut told = crate::aws::instances::Instances::new(aws).told_of(ids).await?;
        let mut heard = BTreeSet::new();
        let doubtful: Vec<&String> = ids.iter().filter(|id| told.get(*id) != Some(&InstanceState::Runs)).collect();
        for some in doubtful.chunks(AT_ONCE) {
            let addresses: Vec<_> = some.iter().map(|id| own_addresses(host, id, answers)).collect();
            let told = some.iter().map(|id| told.get(*id).copied().unwrap_or(InstanceState::Unknown));
            let asked = join_all(addresses.iter().zip(told).map(|(at, told)| is_heard(names, at, told))).await;
            heard.extend(some.iter().zip(asked).filter(|(_, heard)| *heard).map(|(id, _)| (*id).clone()));
        }
        let unknown: BTreeSet<String> = ids.iter().filter(|id| !told.contains_key(*id)).cloned().collect();
        let mut seen = Vec::new();
        for id in ids {
            // One that has no record has no address to be asked at.
            let has_record = answers.iter().any(|answer| answer.identifier == *id);
            let told = told.remove(id).unwrap_or(InstanceState::Unknown);
            if has_record || told != InstanceState::Unknown {
                seen.push(Sighting { instance: id.clone(), told, answers: heard.contains(id) });
            }
        }
        let (since, patience) = self.watched;
        let gone = self.strays.gone(&seen, patience, since.elapsed());
        Ok(Gone { gone, unknown })
    }

    /// Those of the health checks that nothing leads to any more. Where EC2 does not know the instance, the host may just be
    /// about to make its record, so that has to be so twice.
    fn orphans(&mut self, checks: &[(String, String)], host: &Host, zone: &Zoned, gone: &Gone) -> Vec<String> {
        if checks.is_empty() {
            return Vec::new();
        }
        let in_use = |id: &String| {
            let own = [&self.checks.v4, &self.checks.v6].into_iter().flatten().any(|own| own == id);
            own || zone.answers.iter().any(|answer| answer.check.as_ref() == Some(id))
        };
        let unused = checks.iter().filter(|(id, _)| !in_use(id));
        let (of_unknown, others): (Vec<_>, Vec<_>) = unused.partition(|(_, of)| gone.unknown.contains(of));
        let of_unknown: BTreeSet<String> = of_unknown.into_iter().map(|(id, _)| id.clone()).collect();
        let is_ours = |of: &String| *of == host.instance || gone.gone.contains(of);
        let mut orphans: Vec<_> = others.into_iter().filter(|(_, of)| is_ours(of)).map(|(id, _)| id.clone()).collect();
        orphans.extend(of_unknown.intersection(&self.unused).cloned());
        self.unused = of_unknown;
        orphans
    }
}

impl AnswersFound {
    /// The host's addresses that have no health check, unless one was refused just now.
    fn unchecked(&self, host: &Host) -> Vec<IpAddr> {
        if self.refused.is_some() {
            return Vec::new();
        }
        let v4 = host.ipv4.filter(|_| self.checks.v4.is_none()).map(IpAddr::V4);
        let v6 = host.ipv6.filter(|_| self.checks.v6.is_none()).map(IpAddr::V6);
        v4.into_iter().chain(v6).collect()
    }
}

/// Hosts that are gone.
#[derive(Default)]
struct Gone {
    gone: Vec<String>,
    /// Those that EC2 knows nothing of.
    unknown: BTreeSet<String>,
}

/// The addresses at which only that instance can answer: neither this host's, nor such that another has a record of, too.
fn own_addresses(host: &Host, id: &str, answers: &[MultivalueAnswer]) -> BTreeSet<IpAddr> {
    let of = |own: bool| {
        let answers = answers.iter().filter(move |answer| (answer.identifier == id) == own);
        answers.flat_map(|answer| &answer.values).filter_map(|value| value.parse().ok())
    };
    let others: BTreeSet<IpAddr> = of(false).collect();
    of(true).filter(|ip| !host.is_at(*ip) && !others.contains(ip)).collect()
}

/// Whether a host of the domain is heard at one of the addresses, be it one that waits.
async fn is_heard(names: &NameService, addresses: &BTreeSet<IpAddr>, told: InstanceState) -> bool {
    let heard = join_all(addresses.iter().map(|ip| names.heard_at(*ip))).await;
    heard.into_iter().any(|heard| is_alive(heard, false, told))
}

/// What stands at the names; with the claim, where there are simple records.
async fn zoned(names: &NameService, aws: &Aws) -> Result<Zoned, Fault> {
    let zone = names.zone(aws)?;
    let sets = try_join_all(names.names.iter().map(|name| zone.sets(name.as_str()))).await?;
    let mut zoned = Zoned::default();
    for set in sets {
        zoned.answers.extend(set.answers);
        zoned.others.extend(set.others);
    }
    if let Some(domain) = names.names.first().filter(|_| zoned.others.iter().any(Records::is_address)) {
        zoned.others.extend(zone.records(&claim_name(domain)).await?);
    }
    Ok(zoned)
}

/// The instances that multivalue answers lead to.
///
/// # Errors
/// What Route 53 refuses.
pub async fn led_to(names: &NameService, aws: &Aws) -> Result<BTreeSet<String>, Fault> {
    Ok(zoned(names, aws).await?.answers.into_iter().map(|answer| answer.identifier).collect())
}

/// Takes the records of `instance` away, and the health checks on them; whether there were any.
///
/// # Errors
/// What Route 53 refuses; records that were changed meanwhile.
async fn withdraw(names: &NameService, aws: &Aws, instance: &str) -> Result<bool, Fault> {
    let answers = zoned(names, aws).await?.answers;
    let steps = withdrawal(instance, &answers);
    if steps.is_empty() {
        return Ok(false);
    }
    let why = format!("removing the records of {instance}, which is leaving");
    match names.zone(aws)?.change_many(&format!("spothost: {why}"), &steps).await? {
        Changed::Accepted(_) => {}
        Changed::Differed(said) => return Err(Fault::retry(why, said)),
    }
    // A check may stand on a record that stays.
    let stays = |id: &String| {
        let stands = |answer: &&MultivalueAnswer| answer.check.as_ref() == Some(id);
        answers.iter().filter(stands).any(|answer| !steps.contains(&Many::Delete(answer.clone())))
    };
    for id in checks_of(&steps).into_iter().filter(|id| !stays(id)) {
        HealthChecks::new(aws).delete(&id).await?;
    }
    Ok(true)
}

fn checks_of(steps: &[Many]) -> BTreeSet<String> {
    let deleted = steps.iter().filter_map(|step| match step {
        Many::Delete(answer) => answer.check.clone(),
        Many::Upsert(_) | Many::Simple(_) => None,
    });
    deleted.collect()
}

impl Route for Multivalue {
    type Found = AnswersFound;
    type Change = AnswersChange;
    const ALONE: bool = false;
    const OWN_ADDRESS: bool = true;

    async fn look(&mut self, names: &NameService, inputs: &RoutingInputs) -> Result<AnswersFound, Fault> {
        let RoutingInputs { aws, host, .. } = inputs;
        let zone = zoned(names, aws).await?;
        self.recognise(host, &zone.answers);
        let listed = self.listed(aws, names).await;
        let named = zone.answers.iter().map(|answer| &answer.identifier).chain(listed.iter().map(|(_, of)| of));
        let others: BTreeSet<&String> = named.filter(|id| is_instance_id(id) && **id != host.instance).collect();
        let others: Vec<String> = others.into_iter().cloned().collect();
        let (gone, blind) = match self.gone(names, inputs, &others, &zone.answers).await {
            Ok(gone) => (gone, None),
            Err(fault) => (Gone::default(), Some(fault.while_doing("sweeping the records of hosts that are gone"))),
        };
        let orphans = self.orphans(&listed, host, &zone, &gone);
        let checks = self.checks.clone();
        let refused = self.refused.lasts().cloned();
        Ok(AnswersFound { zone, gone: gone.gone, checks, refused, orphans, blind })
    }

    /// Of hosts that move simple records, where there are any.
    fn claim(names: &NameService, found: &AnswersFound) -> Option<Claim> {
        let (claim, _) = records::claim(names.names.first()?, &found.zone.others).ok()??;
        Some(claim)
    }

    fn plan(wanted: &DesiredRouting<'_>, found: &AnswersFound) -> RoutingPlan<AnswersChange> {
        plan(wanted, &found.checks, &found.zone, &found.gone)
            .map(|batch| AnswersChange { why: batch.why, found: Box::new(found.clone()) })
    }

    fn besides(wanted: &DesiredRouting<'_>, found: &AnswersFound) -> Result<Option<AnswersChange>, Fault> {
        let why = if !found.unchecked(wanted.host).is_empty() {
            format!("adding a health check of {}", records::addresses(wanted.host).join(" and "))
        } else if !found.orphans.is_empty() {
            "deleting health checks that nothing leads to".to_owned()
        } else if let Some(fault) = found.blind.as_ref().or(found.refused.as_ref()) {
            return Err(fault.clone());
        } else {
            return wanted.all_lead_here(&found.zone.others).map(|()| None);
        };
        Ok(Some(AnswersChange { why, found: Box::new(found.clone()) }))
    }

    /// The checks first, so that a record is made with its own; those that are no longer needed go last.
    async fn carry_out(
        &mut self,
        aws: &Aws,
        names: &NameService,
        wanted: &DesiredRouting<'_>,
        AnswersChange { found, .. }: AnswersChange,
    ) -> Result<(), Fault> {
        let checks = HealthChecks::new(aws);
        self.make_checks(&checks, names, wanted.host, found.unchecked(wanted.host)).await;
        let mut unneeded: BTreeSet<String> = found.orphans.iter().cloned().collect();
        if let RoutingPlan::Change(batch) = plan(wanted, &self.checks, &found.zone, &found.gone) {
            let zone = names.zone(aws)?;
            let changed = zone.change_many(&format!("spothost: {}", batch.why), &batch.steps).await?;
            all_name_servers_know(&zone, &batch.why, changed).await?;
            let mine = |answer: &&MultivalueAnswer| answer.identifier == wanted.host.instance;
            unneeded.extend(checks_of(&batch.steps));
            unneeded.extend(found.zone.answers.iter().filter(mine).filter_map(|answer| answer.check.clone()));
        }
        unneeded.retain(|id| self.checks.v4.as_ref() != Some(id) && self.checks.v6.as_ref() != Some(id));
        self.delete_checks(&checks, unneeded).await;
        Ok(())
    }

    async fn depart(&mut self, aws: &Aws, names: &NameService, instance: &str) -> Result<(), Fault> {
        // A batch that was under way may arrive late: it is looked once more.
        while withdraw(names, aws, instance).await? {
            tracing::info!("the records of this host are removed");
        }
        Ok(())
    }

    fn why(change: &AnswersChange) -> &str {
        &change.why
    }

    fn holding(held: &Routing) -> String {
        match held {
            Routing::Here(here) => format!("records of its own lead to {}", here.to),
            Routing::Elsewhere(elsewhere) => {
                format!("{} holds the names alone, by simple records", elsewhere.claim.instance)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::host::tests::host, place::Name, routing::plan::wanted};

    #[test]
    fn health_checks_are_judged_by_what_the_look_found_of_them_and_of_their_last_refusal() {
        let me = host("i-me", 5);
        let names: Vec<Name> = vec!["www.example.org".parse().expect("a name")];
        let denied = Fault::operator("making a health check", "AccessDenied", "allow it");
        let deaf = Fault::retry("asking EC2", "no answer");
        let adding = "adding a health check of 192.0.2.7";
        let deleting = "deleting health checks that nothing leads to";
        let table = [
            ("all is there", Some("c1"), None, None, None, Ok(None)),
            ("its own is lacking", None, None, None, None, Ok(Some(adding))),
            ("its own was refused", None, Some(&denied), None, None, Err(denied.clone())),
            ("one is left over", Some("c1"), None, Some("c9"), None, Ok(Some(deleting))),
            ("its own is lacking, and one is left over", None, None, Some("c9"), None, Ok(Some(adding))),
            ("its own was refused, and one is left over", None, Some(&denied), Some("c9"), None, Ok(Some(deleting))),
            ("nobody says who is gone", Some("c1"), None, None, Some(&deaf), Err(deaf.clone())),
        ];
        for (what, check, refused, orphan, blind, expected) in table {
            let own = MultivalueAnswer {
                name: names[0].to_string(),
                kind: RecordType::A,
                ttl: Some(60),
                values: vec!["192.0.2.7".to_owned()],
                identifier: "i-me".to_owned(),
                check: check.map(str::to_owned),
            };
            let found = AnswersFound {
                zone: Zoned { answers: vec![own], others: Vec::new() },
                gone: Vec::new(),
                checks: Checks { v4: check.map(str::to_owned), v6: None },
                refused: refused.cloned(),
                orphans: orphan.into_iter().map(str::to_owned).collect(),
                blind: blind.cloned(),
            };
            let wanted = wanted(&me, &names);
            assert!(matches!(Multivalue::plan(&wanted, &found), RoutingPlan::Leads(_)), "{what}: nobody is led here");
            let besides = Multivalue::besides(&wanted, &found).map(|change| change.map(|change| change.why));
            assert_eq!(besides, expected.map(|why| why.map(str::to_owned)), "{what}");
        }
    }
}
