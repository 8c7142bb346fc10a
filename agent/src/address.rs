//! Keeper: the domain leads here, unless another host has the right to it.
//!
//! This is the last step of a boot, and the only one that others see: it comes after the host has answered for the
//! domain. All names and the claim move in one transactional batch, so two hosts can never both have moved them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::{join, try_join_all};
use tokio::{sync::watch, time::Instant};

use crate::{
    aws::{
        Aws,
        zone::{Changed, Records, Zone},
    },
    config::{Config, Name},
    fault::Fault,
    host::Host,
    keeper::{Judgement, Keeper, Kept, Pace},
    listener::{self, Answering, Heard, Waiting},
    status::Part,
    succession::{Claim, Right, Silence, Standing, claim_name, right, right_without_certificate},
};

pub(crate) mod plan;

use plan::{Change, Plan, Wanted, plan, plan_without_certificate};

/// The names lead to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadsHere {
    /// What the names lead to.
    pub to: String,
    /// Epoch of the claim.
    pub epoch: u64,
    /// How many hosts the fleet has at rest, as the claim says.
    pub target: Option<u32>,
    /// The epoch of the last claim in which another host said that it goes, and has asked the fleet for a successor.
    pub asked_in: Option<u64>,
}

/// Where the names lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Here.
    Here(LeadsHere),
    /// To the host that has the right to it.
    Elsewhere(Elsewhere),
}

/// The names lead to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its claim.
    pub claim: Claim,
    /// Whether they led to this host before.
    pub held: bool,
    /// Whether it answered for the domain when it was last asked.
    pub answers: bool,
}

/// What the zone holds, and how the claimant stands.
pub struct Seen {
    records: Vec<Records>,
    claimant: Standing,
    answers: bool,
}

/// What the records are to be, and where they lie.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The names, the canonical one first.
    pub names: Vec<Name>,
    /// Id of the hosted zone.
    pub zone: String,
    /// Time to live of the records, in seconds.
    pub ttl: u32,
    /// The port at which every host of the names answers.
    pub port: u16,
}

/// Keeper of the records.
pub struct Address {
    ledger: Ledger,
    adopt: bool,
    look: Duration,
    /// After how long a claimant that does not answer is taken for dead.
    patience: Duration,
    aws: Kept<Aws>,
    host: Kept<Host>,
    answering: Kept<Answering>,
    /// That this host has no certificate, and says so.
    waiting: Kept<Waiting>,
    /// How many hosts the fleet has at rest.
    target: Kept<u32>,
    /// What a look found that was made while this host did not answer yet, and when.
    early: Option<(Instant, Seen)>,
    begun: Instant,
    silence: Silence,
    /// The epoch in which this host last held the names.
    held: Option<u64>,
    put_aside: bool,
    asked_in: Option<u64>,
}

/// How long an early look is of use. An older one could do no harm, since the claim it read is compared by Route 53
/// with the one that is there, but a host that is long in coming should see what came before it.
const EARLY: Duration = Duration::from_secs(10);

/// How long another host may take to answer.
const PROBE: Duration = Duration::from_secs(5);

impl Ledger {
    /// The records of `config`'s names, where it names a zone.
    pub fn of(config: &Config) -> Option<Ledger> {
        let (names, port) = (config.names(), config.listen.https.port());
        Some(Ledger { names, zone: config.zone.clone()?, ttl: config.ttl, port })
    }

    /// All records of the names and the claim.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn read(&self, zone: &Zone) -> Result<Vec<Records>, Fault> {
        let claim = self.names.first().map(claim_name).unwrap_or_default();
        // The claim alone first: a Route 53 that refuses this is not asked more.
        let mut records = zone.records(&claim).await?;
        let sets = try_join_all(self.names.iter().map(|name| zone.records(name.as_str()))).await?;
        records.extend(sets.into_iter().flatten());
        Ok(records)
    }

    /// Whether the host of that claim answers for the domain, at the address that the claim says: the records may have been
    /// changed by hand, which says nothing about their host.
    pub async fn answers(&self, claim: &Claim) -> bool {
        match claim.at {
            Some(ip) => self.answers_at(ip).await,
            None => false,
        }
    }

    /// Whether whoever is at that address answers for the domain.
    pub async fn answers_at(&self, ip: IpAddr) -> bool {
        self.heard_at(ip).await == Heard::Site
    }

    /// What is heard from whoever is at that address.
    pub async fn heard_at(&self, ip: IpAddr) -> Heard {
        match self.names.first() {
            Some(domain) => listener::heard(SocketAddr::new(ip, self.port), domain, PROBE).await,
            None => Heard::Nothing,
        }
    }

    /// The claim as it stands.
    ///
    /// # Errors
    /// What Route 53 refuses; something else in the claim's place.
    pub async fn claim(&self, aws: &Aws) -> Result<Option<Claim>, Fault> {
        let Some(domain) = self.names.first() else { return Ok(None) };
        let records = Zone::new(aws, self.zone.clone()).records(&claim_name(domain)).await?;
        Ok(plan::claim(domain, &records)?.map(|(claim, _)| claim))
    }

    /// Says in the claim that `host` goes, if it holds the names; whether it had to be said. `asked`: the fleet was
    /// asked for a successor.
    ///
    /// # Errors
    /// What Route 53 refuses; a claim that was changed meanwhile.
    pub async fn depart(&self, aws: &Aws, host: &Host, asked: bool) -> Result<bool, Fault> {
        let zone = Zone::new(aws, self.zone.clone());
        let domain =
            self.names.first().ok_or_else(|| Fault::retry("saying that this host goes", "there is no name"))?;
        let records = zone.records(&claim_name(domain)).await?;
        let Some(change) = plan::departing(host, domain, &records, asked)? else { return Ok(false) };
        match zone.change(&format!("spothost: {}", change.why), &change.steps).await? {
            Changed::Accepted(_) => Ok(true),
            Changed::Differed(said) => Err(Fault::retry(change.why, said)),
        }
    }

    /// Removes the records that lead to `host`, if it still holds the names and they are as it made them; whether it did.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn remove(&self, aws: &Aws, host: &Host) -> Result<bool, Fault> {
        let zone = Zone::new(aws, self.zone.clone());
        let records = self.read(&zone).await?;
        let Some(change) = plan::removal(host, &self.names, &records)? else { return Ok(false) };
        let changed = zone.change(&format!("spothost: {}", change.why), &change.steps).await?;
        Ok(matches!(changed, Changed::Accepted(_)))
    }
}

impl Address {
    /// Keeps the records of `config`'s names in `ledger`. `answering` is what a host has to hold before it may be led
    /// to; `target` is noted in the claim for the hosts to come.
    pub fn new(
        config: &Config,
        ledger: Ledger,
        aws: Kept<Aws>,
        host: Kept<Host>,
        answering: Kept<Answering>,
        target: watch::Receiver<Option<u32>>,
    ) -> Address {
        Address {
            ledger,
            adopt: config.adopt,
            look: config.look.address,
            patience: config.succession.silence,
            aws,
            host,
            answering,
            waiting: watch::channel(None).1,
            target,
            early: None,
            begun: Instant::now(),
            silence: Silence::default(),
            held: None,
            put_aside: false,
            asked_in: None,
        }
    }

    /// The same for a host that may be led to before, where nobody else is: as long as it says that it waits for its
    /// certificate.
    #[must_use]
    pub fn or_waiting(self, waiting: Kept<Waiting>) -> Address {
        Address { waiting, ..self }
    }

    /// Whether this host answers for the domain, and does not only say what it waits for.
    fn is_ready(&self) -> bool {
        self.answering.borrow().is_some()
    }

    /// Looks while the host is still to answer, so that the records are known, and Route 53's connection made, by then.
    async fn look_early(&mut self) {
        let waits = !self.is_ready()
            && self.waiting.borrow().is_none()
            && self.host.borrow().is_some()
            && self.aws.borrow().is_some();
        if !waits || self.early.is_some() {
            return;
        }
        let mut answering = self.answering.clone();
        // What fails now is looked at again, and told, when it matters.
        self.early = tokio::select! {
            _ = answering.wait_for(Option::is_some) => None,
            seen = self.look() => seen.ok().map(|seen| (Instant::now(), seen)),
        };
    }

    async fn look(&mut self) -> Result<Seen, Fault> {
        let records = self.ledger.read(&self.zone()?).await?;
        let (claimant, answers) = self.claimant(&records).await;
        Ok(Seen { records, claimant, answers })
    }

    fn zone(&self) -> Result<Zone, Fault> {
        let aws = self.aws.borrow().clone();
        let aws = aws.ok_or_else(|| Fault::retry("reading records", "the region is not known yet"))?;
        Ok(Zone::new(&aws, self.ledger.zone.clone()))
    }

    /// How another claimant stands, and whether it answers. It is gone when EC2 says so, or when it was silent for long
    /// while the records could be read: that something else was reached is what tells its silence from our own deafness.
    async fn claimant(&mut self, records: &[Records]) -> (Standing, bool) {
        let claim = self.ledger.names.first().and_then(|domain| plan::claim(domain, records).ok().flatten());
        let (Some((claim, _)), Some(host)) = (claim, self.host.borrow().clone()) else {
            return (Standing::Lives, false);
        };
        if claim.instance == host.instance {
            if !claim.waiting {
                self.held = Some(claim.epoch);
            }
            self.put_aside = false;
            return (Standing::Lives, true);
        }
        self.put_aside |= self.held.is_some();
        self.asked_in = claim.asked.then_some(claim.epoch).or(self.asked_in);
        // Where it makes no difference nobody is asked: a host that is gone would only hold this one up.
        let right = match self.is_ready() {
            true => right(&host, self.put_aside, Some(&claim), Standing::Lives),
            false => right_without_certificate(&host, Some(&claim), Standing::Lives),
        };
        if right != Right::StandAside {
            return (Standing::Lives, false);
        }
        let (answers, standing) = join(self.ledger.answers(&claim), self.standing(&claim)).await;
        self.silence.asked(&claim.instance, claim.epoch, answers, self.begun.elapsed());
        let silent = self.silence.is_long(self.patience, self.begun.elapsed());
        (if silent { Standing::Gone } else { standing }, answers)
    }

    fn elsewhere(&self, claim: Claim, seen: &Seen) -> Leads {
        Leads::Elsewhere(Elsewhere { claim, held: self.held.is_some(), answers: seen.answers })
    }

    /// What a host holds that held the names, and finds that another has claimed them: they are not its own before they
    /// are again, even if it may take them.
    fn lost_to(&self, host: &Host, seen: &Seen) -> Option<Leads> {
        self.held?;
        let (claim, _) = plan::claim(self.ledger.names.first()?, &seen.records).ok()??;
        (claim.instance != host.instance).then(|| self.elsewhere(claim, seen))
    }

    /// Asks EC2 for the claimant; with the feature `fleet` only.
    #[cfg(feature = "fleet")]
    async fn standing(&self, claim: &Claim) -> Standing {
        let Some(aws) = self.aws.borrow().clone() else { return Standing::Lives };
        let standing = crate::aws::instances::Instances::new(&aws).standing(&claim.instance).await;
        standing.unwrap_or_else(|fault| {
            tracing::debug!(%fault, "EC2 does not say how the claimant stands");
            Standing::Lives
        })
    }

    #[cfg(not(feature = "fleet"))]
    async fn standing(&self, _: &Claim) -> Standing {
        Standing::Lives
    }
}

impl Keeper for Address {
    type Seen = Seen;
    type Drift = Change;
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
        if !self.is_ready() && self.waiting.borrow().is_none() {
            return Some("this host to answer for the domain".to_owned());
        }
        if self.host.borrow().as_ref().and_then(Host::public).is_none() {
            return Some("a public address".to_owned());
        }
        self.aws.borrow().is_none().then(|| "the region of the host".to_owned())
    }

    async fn woken(&mut self) {
        self.look_early().await;
        tokio::select! {
            _ = self.answering.changed() => {}
            _ = self.host.changed() => {}
            _ = self.aws.changed() => {}
            Ok(()) = self.waiting.changed() => {}
            Ok(()) = self.target.changed() => {}
        }
    }

    async fn observe(&mut self) -> Result<Seen, Fault> {
        match self.early.take() {
            Some((at, seen)) if at.elapsed() < EARLY && self.is_ready() => Ok(seen),
            _ => self.look().await,
        }
    }

    fn judge(&self, seen: Seen) -> Judgement<Leads, Change> {
        let Some(host) = self.host.borrow().clone() else {
            return Judgement::Waits("the host".to_owned());
        };
        let package = self.answering.borrow().as_ref().map(|answering| answering.release.clone()).unwrap_or_default();
        let wanted = Wanted {
            host: &host,
            names: &self.ledger.names,
            ttl: self.ledger.ttl,
            adopt: self.adopt,
            put_aside: self.put_aside,
            target: *self.target.borrow(),
            package: &package,
        };
        let planned = match self.is_ready() {
            true => plan(&wanted, &seen.records, seen.claimant),
            false => plan_without_certificate(&wanted, &seen.records, seen.claimant),
        };
        match planned {
            Plan::Leads(leads) => Judgement::Kept(Leads::Here(LeadsHere { asked_in: self.asked_in, ..leads })),
            Plan::Change(change) => Judgement::Drifted { drift: change, meanwhile: self.lost_to(&host, &seen) },
            Plan::StandAside(claim) => Judgement::StandsAside(self.elsewhere(claim, &seen)),
            Plan::Refuse(fault) => Judgement::Refused(fault),
        }
    }

    async fn converge(&mut self, change: Change) -> Result<(), Fault> {
        let zone = self.zone()?;
        match zone.change(&format!("spothost: {}", change.why), &change.steps).await? {
            Changed::Accepted(id) => {
                tracing::info!(change = id, "accepted");
                zone.in_sync(&id).await
            }
            Changed::Differed(said) => {
                Err(Fault::retry("moving the names", format!("somebody else changed the records meanwhile: {said}")))
            }
        }
    }

    fn holding(held: &Leads) -> String {
        match held {
            Leads::Here(here) => format!("all names lead to {} (epoch {})", here.to, here.epoch),
            Leads::Elsewhere(elsewhere) => {
                let Claim { instance, epoch, .. } = &elsewhere.claim;
                let answers = if elsewhere.answers { "answers" } else { "does not answer" };
                format!("{instance} holds the names (epoch {epoch}) and {answers}")
            }
        }
    }

    fn drifting(drift: &Change) -> String {
        drift.why.clone()
    }
}
