//! Keeper: the domain leads here as well, beside every other host that is ready.
//!
//! Each host has multivalue answer records of its own, told from the others' by its instance id, with a health check on them:
//! Route 53 and the fleet do the distributing. A host takes its records away when it departs, unless they are the last, and
//! any host sweeps those of hosts that do not answer and are gone, as EC2 tells, or long silent where EC2 knows nothing of
//! them ([`strays`]). Nobody holds the names alone, so there is nothing to follow in.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::future::{join, join_all, try_join_all};
use tokio::time::Instant;

use super::{
    Sources,
    foreign::{browsers_elsewhere, left_out},
    plan::Wanted,
};
use crate::{
    aws::{
        Aws, Host, Told,
        compute::IS_BUILT_IN,
        health::{Endpoint, HealthChecks},
        zone::{Answer, Changed, Kind, Many, Records},
    },
    claim::{
        Claimant, Elsewhere, Leads, LeadsHere, Ledger, Standing, claim_name, is_alive, is_instance_id, records, told,
    },
    config::Config,
    fault::Fault,
    keeper::{Judgement, Keeper, Pace},
    status::Part,
};

mod plan;
mod strays;

use plan::{Checks, Plan, Zoned, plan, withdrawal};
use strays::{Sighting, Strays};

/// How often the health checks of the account are listed, for those that nothing leads to any more.
const LIST: Duration = Duration::from_secs(3600);
/// How soon something about a health check is tried again that was refused.
const AGAIN: Duration = Duration::from_secs(120);
/// So many hosts are asked at the same time whether they answer.
const AT_ONCE: usize = 16;

/// Keeper of the host's own records.
pub struct Multivalue {
    ledger: Ledger,
    adopt: bool,
    look: Duration,
    sources: Sources,
    claimant: Claimant,
    checks: Checks,
    /// The addresses that those checks are of.
    checked: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// When a health check could not be made, listed or deleted, and why.
    refused: Option<(Instant, Fault)>,
    listed: Option<Instant>,
    /// Hosts that EC2 does not know.
    strays: Strays,
    /// Since when this host watches them, and how long they may be silent.
    watched: (Instant, Duration),
    /// Health checks that nothing led to when they were listed before, of instances that EC2 does not know.
    unused: BTreeSet<String>,
}

/// What a look found.
#[derive(Clone)]
pub struct Seen {
    host: Host,
    zone: Zoned,
    gone: Vec<String>,
    claimant: Standing,
    /// Health checks that nothing leads to any more.
    orphans: Vec<String>,
    /// What kept this host from seeing who is gone.
    blind: Option<Fault>,
}

/// What is to be corrected.
pub struct Drift(Box<Seen>, String);

impl Multivalue {
    /// Keeps the host's own records of `config`'s names.
    pub fn new(config: &Config, ledger: Ledger, sources: Sources) -> Multivalue {
        if !IS_BUILT_IN {
            tracing::warn!(
                "records of hosts that are gone are not swept: this program was built without the feature `fleet`, and \
                 cannot ask EC2"
            );
        }
        Multivalue {
            ledger,
            adopt: config.adopt,
            look: config.look.address,
            sources,
            claimant: Claimant::new(config.succession.silence),
            checks: Checks::default(),
            checked: (None, None),
            refused: None,
            listed: None,
            strays: Strays::default(),
            watched: (Instant::now(), config.succession.silence),
            unused: BTreeSet::new(),
        }
    }

    fn is_ready(&self) -> bool {
        self.sources.answering.borrow().is_some()
    }

    fn aws(&self) -> Result<Aws, Fault> {
        let aws = self.sources.aws.borrow().clone();
        aws.ok_or_else(|| Fault::retry("reading records", "the region is not known yet"))
    }

    fn package(&self) -> String {
        self.sources.answering.borrow().as_ref().map(|answering| answering.release.clone()).unwrap_or_default()
    }

    fn plan(&self, seen: &Seen, package: &str) -> Plan {
        let wanted = Wanted {
            host: &seen.host,
            names: &self.ledger.names,
            ttl: self.ledger.ttl,
            adopt: self.adopt,
            put_aside: self.claimant.put_aside,
            target: None,
            package,
        };
        plan(&wanted, self.is_ready(), &self.checks, &seen.zone, &seen.gone, seen.claimant)
    }

    /// A check that stands on the host's own record is the check of that address; another address needs another.
    fn recognise(&mut self, host: &Host, answers: &[Answer]) {
        if self.checked != (host.ipv4, host.ipv6) {
            (self.checks, self.checked) = (Checks::default(), (host.ipv4, host.ipv6));
        }
        let of = |kind: Kind, address: Option<String>| {
            let mine = |answer: &&Answer| answer.kind == kind && answer.identifier == host.instance;
            answers.iter().filter(mine).find(|own| own.values.first() == address.as_ref())
        };
        let v4 = of(Kind::A, host.ipv4.map(|ip| ip.to_string()));
        let v6 = of(Kind::Aaaa, host.ipv6.map(|ip| ip.to_string()));
        // One without a record was taken away with it, or is found again by its reference.
        self.checks.v4 = v4.and_then(|own| self.checks.v4.take().or_else(|| own.check.clone()));
        self.checks.v6 = v6.and_then(|own| self.checks.v6.take().or_else(|| own.check.clone()));
    }

    /// The host's addresses that have no health check, unless it was refused just now.
    fn unchecked(&self, host: &Host) -> Vec<IpAddr> {
        if self.was_refused().is_some() {
            return Vec::new();
        }
        let v4 = host.ipv4.filter(|_| self.checks.v4.is_none()).map(IpAddr::V4);
        let v6 = host.ipv6.filter(|_| self.checks.v6.is_none()).map(IpAddr::V6);
        v4.into_iter().chain(v6).collect()
    }

    fn was_refused(&self) -> Option<&Fault> {
        self.refused.as_ref().filter(|(at, _)| at.elapsed() < AGAIN).map(|(_, fault)| fault)
    }

    /// Lists the health checks of the domain now and then: the ids with their instances.
    async fn listed(&mut self, aws: &Aws) -> Vec<(String, String)> {
        if self.listed.is_some_and(|at| at.elapsed() < LIST) || self.was_refused().is_some() {
            return Vec::new();
        }
        let Some(domain) = self.ledger.names.first() else { return Vec::new() };
        match HealthChecks::new(aws).of(domain.as_str()).await {
            Ok(checks) => {
                self.listed = Some(Instant::now());
                // One that somebody has deleted is no check any more.
                let is_there = |id: &String| checks.iter().any(|check| check.id == *id);
                self.checks.v4 = self.checks.v4.take().filter(is_there);
                self.checks.v6 = self.checks.v6.take().filter(is_there);
                checks.into_iter().map(|check| (check.id, check.instance)).collect()
            }
            Err(fault) => {
                self.refused = Some((Instant::now(), fault));
                Vec::new()
            }
        }
    }

    /// What keeps a health check from being made is no reason to lead nobody here: Route 53 takes a record without one for
    /// healthy.
    async fn make_checks(&mut self, host: &Host) -> Result<(), Fault> {
        let checks = HealthChecks::new(&self.aws()?);
        let Some(domain) = self.ledger.names.first().map(ToString::to_string) else { return Ok(()) };
        for ip in self.unchecked(host) {
            let endpoint =
                Endpoint { instance: host.instance.clone(), ip, port: self.ledger.port, domain: domain.clone() };
            match checks.make(&endpoint).await {
                Ok(id) => {
                    tracing::info!(%ip, id, "health check");
                    match ip {
                        IpAddr::V4(_) => self.checks.v4 = Some(id),
                        IpAddr::V6(_) => self.checks.v6 = Some(id),
                    }
                }
                Err(fault) => {
                    self.refused = Some((Instant::now(), fault));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Deletes health checks; what cannot be deleted is found again when they are listed the next time.
    async fn delete_checks(&mut self, ids: BTreeSet<String>) -> Result<(), Fault> {
        let checks = HealthChecks::new(&self.aws()?);
        for id in ids {
            if let Err(fault) = checks.delete(&id).await {
                (self.refused, self.listed) = (Some((Instant::now(), fault)), None);
                break;
            }
        }
        Ok(())
    }

    /// The instances among `ids` that are gone, and those that EC2 knows nothing of.
    async fn gone(&mut self, host: &Host, aws: &Aws, ids: &[String], answers: &[Answer]) -> Result<Gone, Fault> {
        if ids.is_empty() || !IS_BUILT_IN {
            return Ok(Gone::default());
        }
        let mut told = crate::aws::instances::Instances::new(aws).told_of(ids).await?;
        let mut heard = BTreeSet::new();
        let doubtful: Vec<&String> = ids.iter().filter(|id| told.get(*id) != Some(&Told::Runs)).collect();
        for some in doubtful.chunks(AT_ONCE) {
            let addresses: Vec<_> = some.iter().map(|id| own_addresses(host, id, answers)).collect();
            let told = some.iter().map(|id| told.get(*id).copied().unwrap_or(Told::Unknown));
            let asked = join_all(addresses.iter().zip(told).map(|(at, told)| is_heard(&self.ledger, at, told))).await;
            heard.extend(some.iter().zip(asked).filter(|(_, heard)| *heard).map(|(id, _)| (*id).clone()));
        }
        let unknown: BTreeSet<String> = ids.iter().filter(|id| !told.contains_key(*id)).cloned().collect();
        let mut seen = Vec::new();
        for id in ids {
            // One that has no record has no address to be asked at.
            let has_record = answers.iter().any(|answer| answer.identifier == *id);
            let told = told.remove(id).unwrap_or(Told::Unknown);
            if has_record || told != Told::Unknown {
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

    /// How the host stands that claims simple records, where there are any.
    async fn claimant(&mut self, host: &Host, zone: &Zoned) -> Standing {
        let claim = self.ledger.names.first().and_then(|domain| records::claim(domain, &zone.others).ok().flatten());
        let Some((claim, _)) = claim else { return Standing::Lives };
        if !self.claimant.read(host, &claim, true) {
            return Standing::Lives;
        }
        let aws = self.sources.aws.borrow().clone();
        let (heard, told) = join(self.ledger.heard(host, &claim), told(aws, host, &claim)).await;
        self.claimant.asked(host, &claim, is_alive(heard, true, told), told)
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
fn own_addresses(host: &Host, id: &str, answers: &[Answer]) -> BTreeSet<IpAddr> {
    let of = |own: bool| {
        let answers = answers.iter().filter(move |answer| (answer.identifier == id) == own);
        answers.flat_map(|answer| &answer.values).filter_map(|value| value.parse().ok())
    };
    let others: BTreeSet<IpAddr> = of(false).collect();
    of(true).filter(|ip| !host.is_at(*ip) && !others.contains(ip)).collect()
}

/// Whether a host of the domain is heard at one of the addresses, be it one that waits.
async fn is_heard(ledger: &Ledger, addresses: &BTreeSet<IpAddr>, told: Told) -> bool {
    let heard = join_all(addresses.iter().map(|ip| ledger.heard_at(*ip))).await;
    heard.into_iter().any(|heard| is_alive(heard, false, told))
}

impl Ledger {
    /// What stands at the names; with the claim, where there are simple records.
    async fn zoned(&self, aws: &Aws) -> Result<Zoned, Fault> {
        let zone = self.zone(aws)?;
        let sets = try_join_all(self.names.iter().map(|name| zone.sets(name.as_str()))).await?;
        let mut zoned = Zoned::default();
        for set in sets {
            zoned.answers.extend(set.answers);
            zoned.others.extend(set.others);
        }
        if let Some(domain) = self.names.first().filter(|_| zoned.others.iter().any(Records::is_address)) {
            zoned.others.extend(zone.records(&claim_name(domain)).await?);
        }
        Ok(zoned)
    }

    /// The instances that multivalue answers lead to.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn led(&self, aws: &Aws) -> Result<BTreeSet<String>, Fault> {
        Ok(self.zoned(aws).await?.answers.into_iter().map(|answer| answer.identifier).collect())
    }

    /// Takes the records of `instance` away, and the health checks on them; whether there were any.
    ///
    /// # Errors
    /// What Route 53 refuses; records that were changed meanwhile.
    async fn withdraw(&self, aws: &Aws, instance: &str) -> Result<bool, Fault> {
        let answers = self.zoned(aws).await?.answers;
        let steps = withdrawal(instance, &answers);
        if steps.is_empty() {
            return Ok(false);
        }
        let why = format!("taking the records of {instance} away, which goes");
        match self.zone(aws)?.change_many(&format!("spothost: {why}"), &steps).await? {
            Changed::Accepted(_) => {}
            Changed::Differed(said) => return Err(Fault::retry(why, said)),
        }
        // A check may stand on a record that stays.
        let stays = |id: &String| {
            let stands = |answer: &&Answer| answer.check.as_ref() == Some(id);
            answers.iter().filter(stands).any(|answer| !steps.contains(&Many::Delete(answer.clone())))
        };
        for id in checks_of(&steps).into_iter().filter(|id| !stays(id)) {
            HealthChecks::new(aws).delete(&id).await?;
        }
        Ok(true)
    }
}

fn checks_of(steps: &[Many]) -> BTreeSet<String> {
    let deleted = steps.iter().filter_map(|step| match step {
        Many::Delete(answer) => answer.check.clone(),
        Many::Upsert(_) | Many::Simple(_) => None,
    });
    deleted.collect()
}

impl Keeper for Multivalue {
    type Seen = Seen;
    type Drift = Drift;
    type Held = Leads;
    const PART: Part = Part::Address;
    const NEEDS: &'static [Part] = &[Part::Host, Part::Listener];

    fn pace(&self) -> Pace {
        Pace {
            look: self.look,
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(240),
            longest_pause: Duration::from_secs(8),
        }
    }

    fn lacks(&self) -> Option<String> {
        self.sources.lacks().or_else(|| {
            let host = self.sources.host.borrow();
            host.as_ref().and_then(Host::public).is_none().then(|| "a public address".to_owned())
        })
    }

    async fn woken(&mut self) {
        self.sources.changed().await;
    }

    async fn observe(&mut self) -> Result<Seen, Fault> {
        self.claimant.looks();
        let aws = self.aws()?;
        let host = self.sources.host.borrow().clone();
        let host = host.ok_or_else(|| Fault::retry("reading records", "the host is not known yet"))?;
        let zone = self.ledger.zoned(&aws).await?;
        self.recognise(&host, &zone.answers);
        let checks = self.listed(&aws).await;
        let claimant = self.claimant(&host, &zone).await;

        let named = zone.answers.iter().map(|answer| &answer.identifier).chain(checks.iter().map(|(_, of)| of));
        let others: BTreeSet<String> =
            named.filter(|id| is_instance_id(id) && **id != host.instance).cloned().collect();
        let others: Vec<String> = others.into_iter().collect();
        let (gone, blind) = match self.gone(&host, &aws, &others, &zone.answers).await {
            Ok(gone) => (gone, None),
            Err(fault) => (Gone::default(), Some(fault.while_doing("sweeping the records of hosts that are gone"))),
        };
        let orphans = self.orphans(&checks, &host, &zone, &gone);
        let gone = gone.gone;
        Ok(Seen { host, zone, gone, claimant, orphans, blind })
    }

    fn judge(&self, seen: Seen) -> Judgement<Leads, Drift> {
        let to = records::addresses(&seen.host).join(" and ");
        let held = Leads::Here(LeadsHere { to: to.clone(), epoch: 0, target: None, asked_in: None });
        let unchecked = self.unchecked(&seen.host);
        match self.plan(&seen, &self.package()) {
            Plan::Leads if unchecked.is_empty() && seen.orphans.is_empty() => {
                let ours = records::addresses(&seen.host);
                let out = || left_out(&self.ledger.names, &seen.zone.others, self.adopt);
                let astray = || browsers_elsewhere(&self.ledger.names, &seen.zone.others, &ours);
                match seen.blind.clone().or_else(|| self.was_refused().cloned()).or_else(out).or_else(astray) {
                    Some(fault) => Judgement::KeptDespite { held, fault },
                    None => Judgement::Kept(held),
                }
            }
            Plan::Leads => {
                let why = match unchecked.is_empty() {
                    true => "deleting health checks that nothing leads to".to_owned(),
                    false => format!("adding a health check of {to}"),
                };
                Judgement::Drifted { drift: Drift(Box::new(seen), why), meanwhile: Some(held) }
            }
            Plan::Change { why, .. } => Judgement::Drifted { drift: Drift(Box::new(seen), why), meanwhile: None },
            Plan::Wait(need) => Judgement::Waits(need),
            Plan::StandAside(claim) => {
                Judgement::StandsAside(Leads::Elsewhere(Box::new(Elsewhere { claim, held: false, answers: true })))
            }
            Plan::Refuse(fault) => Judgement::Refused(fault),
        }
    }

    /// The checks first, so that a record is made with its own; those that are no longer needed go last.
    async fn converge(&mut self, Drift(seen, _): Drift) -> Result<(), Fault> {
        self.claimant.is_fresh()?;
        self.make_checks(&seen.host).await?;
        let mut unneeded: BTreeSet<String> = seen.orphans.iter().cloned().collect();
        if let Plan::Change { why, steps } = self.plan(&seen, &self.package()) {
            let zone = self.ledger.zone(&self.aws()?)?;
            match zone.change_many(&format!("spothost: {why}"), &steps).await? {
                Changed::Accepted(id) => zone.in_sync(&id).await?,
                Changed::Differed(said) => {
                    return Err(Fault::retry(why, format!("somebody else changed the records meanwhile: {said}")));
                }
            }
            let mine = |answer: &&Answer| answer.identifier == seen.host.instance;
            unneeded.extend(checks_of(&steps));
            unneeded.extend(seen.zone.answers.iter().filter(mine).filter_map(|answer| answer.check.clone()));
        }
        unneeded.retain(|id| self.checks.v4.as_ref() != Some(id) && self.checks.v6.as_ref() != Some(id));
        self.delete_checks(unneeded).await
    }

    /// Its records are away before anything else is done; they are back once it stays after all.
    async fn depart(&mut self) -> Result<(), Fault> {
        // Without these the host never had a record.
        let (aws, host) = (self.sources.aws.borrow().clone(), self.sources.host.borrow().clone());
        let (Some(aws), Some(host)) = (aws, host) else { return Ok(()) };
        // A batch that was under way may arrive late: it is looked once more.
        while self.ledger.withdraw(&aws, &host.instance).await? {
            tracing::info!("the records of this host are away");
        }
        Ok(())
    }

    fn holding(held: &Leads) -> String {
        match held {
            Leads::Here(here) => format!("records of its own lead to {}", here.to),
            Leads::Elsewhere(elsewhere) => {
                format!("{} holds the names alone, by simple records", elsewhere.claim.instance)
            }
        }
    }

    fn drifting(Drift(_, why): &Drift) -> String {
        why.clone()
    }
}
