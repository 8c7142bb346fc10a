//! Keeper: the domain leads here, unless another host has the right to it.
//!
//! This is the last step of a boot, and the only one that others see: it comes after the host has answered for the
//! domain. All names and the claim move in one transactional batch, so two hosts can never both have moved them.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::Instant;

use crate::{
    aws::{
        Aws, Host,
        zone::{Changed, Records, Zone},
    },
    claim::{
        Claim, Claimant, Elsewhere, Leads, LeadsHere, Ledger, Standing, is_alive,
        records::{self, Change, addresses},
        told,
    },
    config::{Config, Leading},
    fault::Fault,
    fleet::AtRest,
    keeper::{Judgement, Keeper, Kept, Pace},
    listener::{Answering, Waiting},
    status::Part,
};

mod elastic;
pub(crate) mod foreign;
mod multivalue;
pub(crate) mod plan;

pub use elastic::Elastic;
pub use multivalue::Multivalue;

use plan::{Plan, Wanted, plan, plan_without_certificate, removal};

/// What the zone holds, and how the claimant stands.
pub struct Seen {
    records: Vec<Records>,
    claimant: Standing,
    answers: bool,
}

/// Keeper of the records.
pub struct Address {
    ledger: Ledger,
    adopt: bool,
    look: Duration,
    aws: Kept<Aws>,
    host: Kept<Host>,
    answering: Kept<Answering>,
    /// That this host has no certificate, and says so.
    waiting: Kept<Waiting>,
    /// How many hosts the fleet has at rest, where no claim says it.
    at_rest: AtRest,
    /// What a look found that was made while this host did not answer yet, and when.
    early: Option<(Instant, Seen)>,
    claimant: Claimant,
}

/// What a host has to hold before anybody may be led to it by other means than records that move, and what it goes by.
pub struct Sources {
    /// The way to AWS.
    pub aws: Kept<Aws>,
    /// Who it is.
    pub host: Kept<Host>,
    /// That it answers.
    pub answering: Kept<Answering>,
    /// That it has no certificate, and says so.
    pub waiting: Kept<Waiting>,
    /// How many hosts the fleet has at rest, where no claim says it.
    pub at_rest: AtRest,
}

impl Sources {
    fn lacks(&self) -> Option<String> {
        if self.answering.borrow().is_none() && self.waiting.borrow().is_none() {
            return Some("this host to answer for the domain".to_owned());
        }
        if self.host.borrow().is_none() {
            return Some("the host".to_owned());
        }
        self.aws.borrow().is_none().then(|| "the region of the host".to_owned())
    }

    async fn changed(&mut self) {
        let Sources { aws, host, answering, waiting, at_rest } = self;
        tokio::select! {
            Ok(()) = answering.changed() => {}
            Ok(()) = host.changed() => {}
            Ok(()) = aws.changed() => {}
            Ok(()) = waiting.changed() => {}
            () = at_rest.changed() => {}
            else => std::future::pending().await,
        }
    }
}

/// How long an early look is of use. An older one could do no harm, since the claim it read is compared by Route 53
/// with the one that is there, but a host that is long in coming should see what came before it.
const EARLY: Duration = Duration::from_secs(10);

impl Ledger {
    /// Removes the records that lead to `host`, if it still holds the names and they are as it made them; whether it did.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn remove(&self, aws: &Aws, host: &Host) -> Result<bool, Fault> {
        // An Elastic IP leads to nobody by itself once its instance is gone, and its records stay.
        if self.leading != Leading::Records {
            return Ok(false);
        }
        let zone = self.zone(aws)?;
        let records = self.read(&zone).await?;
        let Some(change) = removal(host, &self.names, &records)? else { return Ok(false) };
        let changed = zone.change(&format!("spothost: {}", change.why), &change.steps).await?;
        Ok(matches!(changed, Changed::Accepted(_)))
    }
}

impl Address {
    /// Keeps the records of `config`'s names in `ledger`. A host has to answer before it may be led to; one that says
    /// that it waits for its certificate may be where nobody else is. The target is noted in the claim for the hosts to come.
    pub fn new(
        config: &Config,
        ledger: Ledger,
        Sources { aws, host, answering, waiting, at_rest }: Sources,
    ) -> Address {
        Address {
            ledger,
            adopt: config.adopt,
            look: config.look.address,
            aws,
            host,
            answering,
            waiting,
            at_rest,
            early: None,
            claimant: Claimant::new(config.succession.silence),
        }
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
        self.claimant.looks();
        let records = self.ledger.read(&self.zone()?).await?;
        let (claimant, answers) = self.claimant(&records).await;
        Ok(Seen { records, claimant, answers })
    }

    fn zone(&self) -> Result<Zone, Fault> {
        let aws = self.aws.borrow().clone();
        let aws = aws.ok_or_else(|| Fault::retry("reading records", "the region is not known yet"))?;
        self.ledger.zone(&aws)
    }

    /// How another claimant stands, and whether it answers.
    async fn claimant(&mut self, records: &[Records]) -> (Standing, bool) {
        let claim = self.ledger.names.first().and_then(|domain| records::claim(domain, records).ok().flatten());
        let Some(host) = self.host.borrow().clone() else { return (Standing::Lives, false) };
        self.claimant.notes_target(&host, claim.as_ref().map(|(claim, _)| claim));
        self.at_rest.ask(self.claimant.needs_target());
        let Some((claim, _)) = claim else { return (Standing::Lives, false) };
        let mine = claim.instance == host.instance;
        if !self.claimant.read(&host, &claim, self.is_ready()) {
            return (Standing::Lives, mine);
        }
        let aws = self.aws.borrow().clone();
        let (heard, told) = join(self.ledger.heard(&host, &claim), told(aws, &host, &claim)).await;
        let lives = is_alive(heard, self.is_ready(), told);
        (self.claimant.asked(&host, &claim, lives, told), heard.answers())
    }

    fn elsewhere(&self, claim: Claim, seen: &Seen) -> Leads {
        Leads::Elsewhere(Box::new(Elsewhere { claim, held: self.claimant.held.is_some(), answers: seen.answers }))
    }

    /// What a host holds that held the names, and finds that another has claimed them: they are not its own before they
    /// are again, even if it may take them.
    fn lost_to(&self, host: &Host, seen: &Seen) -> Option<Leads> {
        self.claimant.held?;
        let (claim, _) = records::claim(self.ledger.names.first()?, &seen.records).ok()??;
        (claim.instance != host.instance).then(|| self.elsewhere(claim, seen))
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
            () = self.at_rest.changed() => {}
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
            put_aside: self.claimant.put_aside,
            target: self.claimant.target.or(self.at_rest.least()),
            package: &package,
        };
        let planned = match self.is_ready() {
            true => plan(&wanted, &seen.records, seen.claimant),
            false => plan_without_certificate(&wanted, &seen.records, seen.claimant),
        };
        match planned {
            Plan::Leads(leads) => {
                let held = Leads::Here(LeadsHere { asked_in: self.claimant.asked_in, ..leads });
                let names = &self.ledger.names;
                let astray = || foreign::browsers_elsewhere(names, &seen.records, &addresses(&host));
                match foreign::left_out(names, &seen.records, self.adopt).or_else(astray) {
                    Some(fault) => Judgement::KeptDespite { held, fault },
                    None => Judgement::Kept(held),
                }
            }
            Plan::Change(change) => Judgement::Drifted { drift: change, meanwhile: self.lost_to(&host, &seen) },
            Plan::StandAside(claim) => Judgement::StandsAside(self.elsewhere(claim, &seen)),
            Plan::Refuse(fault) => Judgement::Refused(fault),
        }
    }

    async fn converge(&mut self, change: Change) -> Result<(), Fault> {
        self.claimant.is_fresh()?;
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
        held.to_string()
    }

    fn drifting(drift: &Change) -> String {
        drift.why.clone()
    }
}
