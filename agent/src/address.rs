//! Keeper: the domain leads here, unless a younger host has claimed it.
//!
//! This is the last step of a boot, and the only one that others see: it comes after the host has answered for the
//! domain. All names and the claim move in one transactional batch, so two hosts can never both have moved them.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::{
    aws::{
        Aws,
        zone::{Changed, Records, Zone},
    },
    config::Name,
    fault::Fault,
    host::Host,
    keeper::{Judgement, Keeper, Kept, Pace},
    listener::Answering,
    status::Part,
};

mod claim;
mod plan;

use claim::claim_name;
use plan::{Change, Plan, Wanted, plan};

/// The names lead to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadsHere {
    /// What the names lead to.
    pub to: String,
    /// Epoch of the claim.
    pub epoch: u64,
}

/// Whether the host that claims the names still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does, or nobody can say: then it is left what it claims.
    Lives,
    /// It does not.
    Gone,
}

/// What the zone holds, and how the claimant stands.
pub struct Seen {
    records: Vec<Records>,
    claimant: Standing,
}

/// Keeper of the records.
pub struct Address {
    names: Vec<Name>,
    zone: String,
    ttl: u32,
    look: Duration,
    aws: Kept<Aws>,
    host: Kept<Host>,
    answering: Kept<Answering>,
    /// What a look found that was made while this host did not answer yet, and when.
    early: Option<(Instant, Seen)>,
}

/// How long an early look is of use. An older one could do no harm, since the claim it read is compared by Route 53
/// with the one that is there, but a host that is long in coming should see what came before it.
const EARLY: Duration = Duration::from_secs(10);

impl Address {
    /// Keeps the records of `names`, the canonical one first, in the zone of that id. `answering` is what a host has
    /// to hold before it may be led to.
    pub fn new(
        names: Vec<Name>,
        zone: String,
        (ttl, look): (u32, Duration),
        aws: Kept<Aws>,
        host: Kept<Host>,
        answering: Kept<Answering>,
    ) -> Address {
        Address { names, zone, ttl, look, aws, host, answering, early: None }
    }

    /// Looks while the host is still to answer, so that the records are known, and Route 53's connection made, by then.
    async fn look_early(&mut self) {
        let waits = self.answering.borrow().is_none() && self.host.borrow().is_some() && self.aws.borrow().is_some();
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

    async fn look(&self) -> Result<Seen, Fault> {
        let zone = self.zone()?;
        let claim = self.claim_name();
        let names = self.names.iter().map(Name::as_str).chain(std::iter::once(claim.as_str()));
        let sets = try_join_all(names.map(|name| zone.records(name))).await?;
        let records: Vec<_> = sets.into_iter().flatten().collect();
        let claimant = self.claimant(&records).await;
        Ok(Seen { records, claimant })
    }

    fn zone(&self) -> Result<Zone, Fault> {
        let aws = self.aws.borrow().clone();
        let aws = aws.ok_or_else(|| Fault::retry("reading records", "the region is not known yet"))?;
        Ok(Zone::new(&aws, self.zone.clone()))
    }

    /// Asks EC2 for the claimant where another, younger host has claimed the names; with the feature `fleet` only.
    #[cfg(feature = "fleet")]
    async fn claimant(&self, records: &[Records]) -> Standing {
        let (host, aws) = (self.host.borrow().clone(), self.aws.borrow().clone());
        let (Some(host), Some(aws)) = (host, aws) else { return Standing::Lives };
        let Some(claim) = plan::younger_claim(&host, &self.claim_name(), records) else { return Standing::Lives };
        let standing = crate::aws::instances::Instances::new(&aws).standing(&claim.instance).await;
        standing.unwrap_or_else(|fault| {
            tracing::info!(%fault, "the claimant is left what it claims");
            Standing::Lives
        })
    }

    #[cfg(not(feature = "fleet"))]
    async fn claimant(&self, _: &[Records]) -> Standing {
        Standing::Lives
    }

    fn claim_name(&self) -> String {
        self.names.first().map(claim_name).unwrap_or_default()
    }
}

impl Keeper for Address {
    type Seen = Seen;
    type Drift = Change;
    type Held = LeadsHere;
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
        if self.answering.borrow().is_none() {
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
        }
    }

    async fn observe(&mut self) -> Result<Seen, Fault> {
        match self.early.take() {
            Some((at, seen)) if at.elapsed() < EARLY => Ok(seen),
            _ => self.look().await,
        }
    }

    fn judge(&self, seen: Seen) -> Judgement<LeadsHere, Change> {
        let Some(host) = self.host.borrow().clone() else {
            return Judgement::Waits("the host".to_owned());
        };
        let wanted = Wanted { host: &host, names: &self.names, ttl: self.ttl };
        match plan(&wanted, &seen.records, seen.claimant) {
            Plan::Leads(leads) => Judgement::Kept(leads),
            Plan::Change(change) => Judgement::Drifted { drift: change, meanwhile: None },
            Plan::StandAside(why) => Judgement::StandsAside(why),
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

    fn holding(held: &LeadsHere) -> String {
        format!("all names lead to {} (epoch {})", held.to, held.epoch)
    }

    fn drifting(drift: &Change) -> String {
        drift.why.clone()
    }
}
