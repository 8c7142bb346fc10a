//! Keeper: the Elastic IP leads here, unless another host has the right to it.
//!
//! The names lead to its address and stay; what moves is the address, by EC2 and S3 of this region alone: who may move it is
//! claimed beside the packages. The claim is won first and the address moved then, so a host that is ended in between leaves
//! a claim that the next one takes over. A host that was late, and moves the address after another has claimed it, is
//! corrected at that one's next look, and stands aside at its own.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::{Instant, sleep};

use super::{
    Sources,
    foreign::{browsers_elsewhere, left_out},
    plan::Wanted,
};
use crate::{
    aws::{
        Aws, Host,
        elastic_ip::{Association, ElasticIp},
        zone::{Changed, Records, Step},
    },
    claim::{
        Claim, Claimant, Elsewhere, Leads, LeadsHere, Ledger, Standing, is_alive,
        records::addresses,
        store::{Held, Store},
        told,
    },
    config::Config,
    fault::Fault,
    keeper::{Judgement, Keeper, Pace},
    place::Bucket,
    probe::Heard,
    status::Part,
};

mod plan;

use plan::{Move, Plan, plan, records, seen_at};

/// How often the records are read that lead to the address, and stay.
const LOOK_AT_RECORDS: Duration = Duration::from_secs(600);
/// How soon a change of the records is tried again that was refused.
const AGAIN: Duration = Duration::from_secs(60);
/// How long EC2 may take to tell that the address has moved, since it is eventually consistent; then it is moved anew.
const SETTLE: Duration = Duration::from_secs(5);

/// Keeper of an Elastic IP.
pub struct Elastic {
    ledger: Ledger,
    allocation: String,
    place: Bucket,
    adopt: bool,
    look: Duration,
    sources: Sources,
    claimant: Claimant,
    /// Whether the claim was read.
    looked: bool,
    records: Option<(Instant, Result<Vec<Records>, Fault>)>,
    /// When a change of the records was refused, and why.
    refused: Option<(Instant, Fault)>,
}

/// What a look found.
pub struct Seen {
    host: Host,
    held: Held,
    address: Association,
    claimant: Standing,
    answers: bool,
}

/// What is to be corrected.
pub struct Drift(What, String);

enum What {
    /// The claim, or where the address leads; the entity tag of the claim that was read.
    Address(Box<Move>, Option<String>),
    /// The records.
    Names(Vec<Step>),
}

impl Elastic {
    /// Keeps the Elastic IP of that allocation id, whose claim lies at `place`.
    pub fn new(config: &Config, ledger: Ledger, (allocation, place): (String, Bucket), sources: Sources) -> Elastic {
        Elastic {
            ledger,
            allocation,
            place,
            adopt: config.adopt,
            look: config.look.address,
            sources,
            claimant: Claimant::new(config.succession.silence),
            looked: false,
            records: None,
            refused: None,
        }
    }

    fn is_ready(&self) -> bool {
        self.sources.answering.borrow().is_some()
    }

    fn aws(&self) -> Result<Aws, Fault> {
        let aws = self.sources.aws.borrow().clone();
        aws.ok_or_else(|| Fault::retry("looking at the Elastic IP", "the region is not known yet"))
    }

    /// Reads the claim while the host is still to answer, so that it is known by then how many hosts the fleet has at rest.
    async fn look_early(&mut self) {
        if self.looked || self.is_ready() {
            return;
        }
        let (aws, host) = (self.sources.aws.borrow().clone(), self.sources.host.borrow().clone());
        let (Some(aws), Some(host)) = (aws, host) else { return };
        let (mut answering, store) = (self.sources.answering.clone(), Store::new(&aws, &self.place));
        let held = tokio::select! {
            _ = answering.wait_for(Option::is_some) => return,
            held = store.read() => held,
        };
        // What fails now is read again, and told, when it matters.
        if let Ok(held) = held {
            self.notes_target(&host, &held);
        }
    }

    fn notes_target(&mut self, host: &Host, held: &Held) {
        self.looked = true;
        self.claimant.notes_target(host, held.as_ref().map(|(claim, _)| claim));
        self.sources.at_rest.ask(self.claimant.needs_target());
    }

    /// How another claimant stands, and whether people who are led by the address come to it, and are answered.
    async fn claimant(&mut self, host: &Host, claim: &Claim, address: &Association) -> (Standing, bool) {
        let mine = claim.instance == host.instance;
        let certified = self.is_ready();
        if !self.claimant.read(host, claim, certified) {
            return (Standing::Lives, mine);
        }
        let heard = async {
            match claim.at {
                // It is led to by another address than this one, of another region or account.
                Some(at) if at != address.ip => self.ledger.heard(host, claim).await,
                _ if address.to.as_ref() == Some(&claim.instance) => self.ledger.heard_at(address.ip.into()).await,
                _ => Heard::Nothing,
            }
        };
        let aws = self.sources.aws.borrow().clone();
        let (heard, told) = join(heard, told(aws, host, claim)).await;
        (self.claimant.asked(host, claim, is_alive(heard, certified, told), told), heard.answers())
    }

    /// Reads the records now and then, once the address leads here.
    async fn look_at_records(&mut self, aws: &Aws) {
        let fresh =
            |(at, read): &(Instant, Result<_, _>)| at.elapsed() < if read.is_ok() { LOOK_AT_RECORDS } else { AGAIN };
        if self.records.as_ref().is_some_and(fresh) {
            return;
        }
        let read = match self.ledger.zone(aws) {
            Ok(zone) => self.ledger.read(&zone).await,
            Err(_) => return,
        };
        self.records = Some((Instant::now(), read));
    }

    /// What is held while the address leads here: the names are to lead to it, but what keeps them from it is no reason to
    /// let go of it.
    fn here(&self, wanted: &Wanted<'_>, claim: &Claim, leads: LeadsHere) -> Judgement<Leads, Drift> {
        let held = Leads::Here(LeadsHere { asked_in: self.claimant.asked_in, ..leads });
        let planned = match &self.records {
            None => Ok(None),
            Some((_, Err(fault))) => Err(fault.clone()),
            Some((_, Ok(seen))) => records(wanted, claim, seen).and_then(|steps| {
                let ours = addresses(wanted.host);
                let astray = || browsers_elsewhere(wanted.names, seen, &ours);
                match left_out(wanted.names, seen, wanted.adopt).or_else(astray) {
                    Some(fault) if steps.is_none() => Err(fault),
                    _ => Ok(steps),
                }
            }),
        };
        match (planned, &self.refused) {
            (Ok(None), _) => Judgement::Kept(held),
            (Err(fault), _) => Judgement::KeptDespite { held, fault },
            (Ok(Some(_)), Some((at, fault))) if at.elapsed() < AGAIN => {
                Judgement::KeptDespite { held, fault: fault.clone() }
            }
            (Ok(Some(steps)), _) => {
                let why = format!(
                    "leading the names to {}, which stays",
                    wanted.host.ipv4.map_or_else(String::new, |ip| ip.to_string())
                );
                Judgement::Drifted { drift: Drift(What::Names(steps), why), meanwhile: Some(held) }
            }
        }
    }

    fn elsewhere(&self, claim: Claim, seen: &Seen) -> Leads {
        Leads::Elsewhere(Box::new(Elsewhere { claim, held: self.claimant.held.is_some(), answers: seen.answers }))
    }

    /// The claim first, by compare-and-swap, then the address: whoever has lost the claim never moves it. What is refused
    /// anyway is found before anything is claimed.
    async fn carry_out(&self, moved: Move, read: Option<String>) -> Result<(), Fault> {
        let aws = self.aws()?;
        let host = self.sources.host.borrow().clone();
        let instance = host.map(|host| host.instance).unwrap_or_default();
        let (store, elastic) = (Store::new(&aws, &self.place), ElasticIp::new(&aws, self.allocation.clone()));
        match &moved.claim {
            Some(next) => {
                if moved.associate {
                    elastic.try_to_lead_to(&instance).await?;
                }
                store.replace(read.as_deref(), next).await?;
                tracing::info!(claim = %next, "claimed");
            }
            None => {
                let now = store.read().await?.map(|(_, etag)| etag);
                if now != read {
                    return Err(Fault::retry(moved.why, "somebody else has changed the claim meanwhile"));
                }
            }
        }
        if !moved.associate {
            return Ok(());
        }
        elastic.lead_to(&instance).await?;
        let begun = Instant::now();
        while elastic.look().await?.to.as_ref() != Some(&instance) {
            if begun.elapsed() > SETTLE {
                return Err(Fault::retry(moved.why, "EC2 does not tell yet that the address has moved"));
            }
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    async fn change_records(&mut self, steps: &[Step], why: &str) -> Result<(), Fault> {
        let zone = self.ledger.zone(&self.aws()?)?;
        self.records = None;
        match zone.change(&format!("spothost: {why}"), steps).await? {
            Changed::Accepted(id) => zone.in_sync(&id).await,
            Changed::Differed(said) => {
                Err(Fault::retry(why, format!("somebody else changed the records meanwhile: {said}")))
            }
        }
    }
}

impl Keeper for Elastic {
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
        self.sources.lacks()
    }

    async fn woken(&mut self) {
        self.look_early().await;
        self.sources.changed().await;
    }

    async fn observe(&mut self) -> Result<Seen, Fault> {
        self.claimant.looks();
        let aws = self.aws()?;
        let host = self.sources.host.borrow().clone();
        let host = host.ok_or_else(|| Fault::retry("looking at the Elastic IP", "the host is not known yet"))?;
        // The claim after the address: what is then done about the address is done with a claim that is not older.
        let address = ElasticIp::new(&aws, self.allocation.clone()).look().await?;
        let held = Store::new(&aws, &self.place).read().await?;
        self.notes_target(&host, &held);
        let (claimant, answers) = match &held {
            Some((claim, _)) => self.claimant(&host, claim, &address).await,
            None => (Standing::Lives, false),
        };
        let mine = held.as_ref().is_some_and(|(claim, _)| claim.instance == host.instance);
        if mine && address.to.as_ref() == Some(&host.instance) {
            self.look_at_records(&aws).await;
        } else {
            self.records = None;
        }
        Ok(Seen { host, held, address, claimant, answers })
    }

    fn judge(&self, seen: Seen) -> Judgement<Leads, Drift> {
        let host = seen_at(seen.address.ip, &seen.host);
        let package = self.sources.answering.borrow().as_ref().map(|answering| answering.release.clone());
        let package = package.unwrap_or_default();
        let wanted = Wanted {
            host: &host,
            names: &self.ledger.names,
            ttl: self.ledger.ttl,
            adopt: self.adopt,
            put_aside: self.claimant.put_aside,
            target: self.claimant.target.or(self.sources.at_rest.least()),
            package: &package,
        };
        let claim = seen.held.as_ref().map(|(claim, _)| claim);
        match (plan(&wanted, claim, seen.claimant, &seen.address, self.is_ready()), claim) {
            (Plan::Leads(leads), Some(claim)) => self.here(&wanted, claim, leads),
            (Plan::Leads(leads), None) => Judgement::Kept(Leads::Here(leads)),
            (Plan::Move(moved), claim) => {
                // What another has claimed is not this host's before it is again, even if it may take it.
                let theirs = claim.filter(|claim| claim.instance != host.instance && self.claimant.held.is_some());
                let meanwhile = theirs.map(|claim| self.elsewhere(claim.clone(), &seen));
                let (why, etag) = (moved.why.clone(), seen.held.as_ref().map(|(_, etag)| etag.clone()));
                Judgement::Drifted { drift: Drift(What::Address(Box::new(moved), etag), why), meanwhile }
            }
            (Plan::StandAside(claim), _) => Judgement::StandsAside(self.elsewhere(claim, &seen)),
            (Plan::Refuse(fault), _) => Judgement::Refused(fault),
        }
    }

    async fn converge(&mut self, Drift(what, why): Drift) -> Result<(), Fault> {
        self.claimant.is_fresh()?;
        match what {
            What::Address(moved, read) => self.carry_out(*moved, read).await,
            What::Names(steps) => {
                // Route 53 is not what the address depends on: its refusal is kept, and told.
                self.refused = self.change_records(&steps, &why).await.err().map(|fault| (Instant::now(), fault));
                Ok(())
            }
        }
    }

    fn holding(held: &Leads) -> String {
        match held {
            Leads::Here(here) => format!("the Elastic IP {} leads here (epoch {})", here.to, here.epoch),
            Leads::Elsewhere(elsewhere) => {
                let Claim { instance, epoch, .. } = &elsewhere.claim;
                let answers = if elsewhere.answers { "answers there" } else { "does not answer there" };
                format!("{instance} holds the Elastic IP (epoch {epoch}) and {answers}")
            }
        }
    }

    fn drifting(Drift(_, why): &Drift) -> String {
        why.clone()
    }
}
