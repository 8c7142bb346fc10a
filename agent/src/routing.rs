//! Keeper: the domain leads here, unless another host has the right to it.
//!
//! This is the last step of a boot, and the only one that others see: it comes after the host has answered for the domain.
//!
//! There are three ways to lead people to a host, each a [`Route`]: [records that move](MovingRecords), an
//! [Elastic IP that moves](MovingElasticIp), and [records of every host](Multivalue). A route knows where it is written where
//! people are led, and how to change that. All else is the same for all of them and stands here: what a host has to hold
//! before anybody may be led to it, how another claimant stands and what is remembered of it, and that nothing is done upon
//! what was seen too long ago.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::Instant;

use crate::{
    aws::{
        Aws,
        zone::{Changed, Zone},
    },
    claim::{Claim, Liveness, NameService, PeerMemory, RoutedElsewhere, Routing, is_alive, told},
    config::Config,
    fault::Fault,
    keeper::{Judgement, Keeper, Pace},
    probe::Heard,
    status::Part,
};

mod elastic_ip;
pub(crate) mod foreign;
mod last_refusal;
mod multivalue;
pub(crate) mod plan;
pub(crate) mod records;
mod sources;
#[cfg(test)]
mod tests;

pub use elastic_ip::MovingElasticIp;
pub use multivalue::{Multivalue, led_to};
pub use records::{MovingRecords, remove};
pub use sources::{RoutingInputs, RoutingSources};

use plan::{DesiredRouting, RoutingPlan};

/// How long an early look is of use. An older one could do no harm, since the claim it read is compared when it is replaced
/// with the one that is there, but a host that is long in coming should see what came before it.
const EARLY: Duration = Duration::from_secs(10);

/// A way to lead people to hosts: where it is written, and how that is changed.
///
/// What decides is of the type and not of its value: it sees what a look found, and neither clocks nor what else is remembered.
pub trait Route: Send + Sync + 'static {
    /// What a look finds.
    type Found: Send + Sync;
    /// One correction.
    type Change: Send;

    /// Whether one host is led to alone, by a claim, so that others follow it.
    const ALONE: bool;
    /// Whether people are led to the host's own public address.
    const OWN_ADDRESS: bool;

    /// Looks where people are led, and changes nothing outside.
    fn look(
        &mut self,
        names: &NameService,
        inputs: &RoutingInputs,
    ) -> impl Future<Output = Result<Self::Found, Fault>> + Send;

    /// Who claims that people are led to it alone, as it was found.
    fn claim(names: &NameService, found: &Self::Found) -> Option<Claim>;

    /// The answer of the host of another's claim, at the address to which visitors are led.
    fn heard(
        names: &NameService,
        inputs: &RoutingInputs,
        _found: &Self::Found,
        claim: &Claim,
    ) -> impl Future<Output = Heard> + Send {
        names.heard(&inputs.host, claim)
    }

    /// The plan to lead visitors here. Pure.
    fn plan(wanted: &DesiredRouting<'_>, found: &Self::Found) -> RoutingPlan<Self::Change>;

    /// What else is to be done once they are, if anything. Pure.
    ///
    /// # Errors
    /// A fault that is no reason to keep visitors away.
    fn besides(wanted: &DesiredRouting<'_>, found: &Self::Found) -> Result<Option<Self::Change>, Fault>;

    /// Carries `change` out, which was planned for `wanted`. Changes by others meanwhile are never overwritten.
    fn carry_out(
        &mut self,
        aws: &Aws,
        names: &NameService,
        wanted: &DesiredRouting<'_>,
        change: Self::Change,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Takes away what leads to this `instance` alone, which departs; nothing, if not said otherwise.
    fn depart(
        &mut self,
        _aws: &Aws,
        _names: &NameService,
        _instance: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// Why that is done, in one phrase.
    fn why(change: &Self::Change) -> &str;

    /// Where people are led, as they are told it.
    fn holding(held: &Routing) -> String;
}

/// Keeper of where the names lead, by one route.
pub struct Router<R: Route> {
    route: R,
    names: NameService,
    adopt: bool,
    look: Duration,
    sources: RoutingSources,
    claimant: PeerMemory,
    /// What a look found that was made while this host did not answer yet, and when.
    early: Option<(Instant, Looked<R::Found>)>,
}

/// One look at the route: its state, its claimant, and how that host stands.
struct Looked<F> {
    found: F,
    claim: Option<Claim>,
    liveness: Liveness,
    answers: bool,
}

/// The memory and inputs that a judgement uses beside its look.
struct Basis {
    inputs: RoutingInputs,
    liveness: Liveness,
    /// Whether people were led here before, and whether another host has followed since.
    held: bool,
    put_aside: bool,
    asked_in: Option<u64>,
    /// How many hosts the fleet has at rest, as claims say, else as it was seen.
    target: Option<u32>,
}

/// One look at the route, and the basis for its judgement.
pub struct RoutingObservation<F> {
    basis: Basis,
    looked: Looked<F>,
}

/// A change of the route, and the basis of the decision.
pub struct RoutingDrift<C> {
    basis: Basis,
    change: C,
}

impl<R: Route> Router<R> {
    /// Leads `config`'s names here by `route`. A host has to answer before it may be led to; one that says that it waits for
    /// its certificate may be where there is no other host.
    pub fn new(config: &Config, names: NameService, route: R, sources: RoutingSources) -> Router<R> {
        Router {
            route,
            names,
            adopt: config.adopt,
            look: config.look.address,
            sources,
            claimant: PeerMemory::new(config.succession.silence),
            early: None,
        }
    }

    /// Looks while the host is still to answer, so that the claim is known, and the connections for it made, by then.
    async fn look_early(&mut self) {
        if !R::ALONE || self.early.is_some() || self.sources.is_served() {
            return;
        }
        let Ok(inputs) = self.sources.inputs() else { return };
        let mut answering = self.sources.answering.clone();
        // What fails now is looked at again, and told, when it matters.
        self.early = tokio::select! {
            _ = answering.wait_for(Option::is_some) => None,
            looked = self.look(&inputs) => looked.ok().map(|looked| (Instant::now(), looked)),
        };
    }

    async fn look(&mut self, inputs: &RoutingInputs) -> Result<Looked<R::Found>, Fault> {
        self.claimant.looks();
        let found = self.route.look(&self.names, inputs).await?;
        let claim = R::claim(&self.names, &found);
        if R::ALONE {
            self.claimant.notes_target(&inputs.host, claim.as_ref());
            self.sources.at_rest.ask(self.claimant.needs_target());
        }
        let (liveness, answers) = match &claim {
            Some(claim) => self.liveness(inputs, &found, claim).await,
            None => (Liveness::Lives, false),
        };
        Ok(Looked { found, claim, liveness, answers })
    }

    /// How the claimant stands, and whether people who are led to it are answered.
    async fn liveness(&mut self, inputs: &RoutingInputs, found: &R::Found, claim: &Claim) -> (Liveness, bool) {
        let host = &inputs.host;
        if !self.claimant.read(host, claim, inputs.certified) {
            return (Liveness::Lives, claim.instance == host.instance);
        }
        let heard = R::heard(&self.names, inputs, found, claim);
        let (heard, told) = join(heard, told(Some(inputs.aws.clone()), host, claim)).await;
        let lives = is_alive(heard, inputs.certified, told);
        (self.claimant.asked(host, claim, lives, told), heard.answers())
    }
}

impl Basis {
    fn wanted<'a>(&'a self, names: &'a NameService, adopt: bool) -> DesiredRouting<'a> {
        DesiredRouting {
            host: &self.inputs.host,
            names: &names.names,
            ttl: names.ttl,
            adopt,
            put_aside: self.put_aside,
            target: self.target,
            package: &self.inputs.package,
            certified: self.inputs.certified,
            asked_in: self.asked_in,
            claimant: self.liveness,
        }
    }
}

/// What follows from a look; `held` says whether people were led here before. Pure.
fn judged<R: Route>(
    wanted: &DesiredRouting<'_>,
    held: bool,
    looked: &Looked<R::Found>,
) -> Judgement<Routing, R::Change> {
    // One of many hosts that finds a host that holds the names alone does not follow it: it stands by until it may take part.
    let held = held && R::ALONE;
    let answers = looked.answers || !R::ALONE;
    let elsewhere = |claim| Routing::Elsewhere(Box::new(RoutedElsewhere { claim, held, answers }));
    match R::plan(wanted, &looked.found) {
        RoutingPlan::Leads(leads) => match R::besides(wanted, &looked.found) {
            Ok(None) => Judgement::Kept(Routing::Here(leads)),
            Ok(Some(drift)) => Judgement::Drifted { drift, meanwhile: Some(Routing::Here(leads)) },
            Err(fault) => Judgement::KeptDespite { held: Routing::Here(leads), fault },
        },
        RoutingPlan::Change(drift) => {
            // Where people were led here, and another has claimed them, they are not this host's before they are again, even
            // if it may take them.
            let theirs = looked.claim.clone().filter(|claim| held && claim.instance != wanted.host.instance);
            Judgement::Drifted { drift, meanwhile: theirs.map(elsewhere) }
        }
        RoutingPlan::Wait(need) => Judgement::Waits(need),
        RoutingPlan::StandAside(claim) => Judgement::StandsAside(elsewhere(claim)),
        RoutingPlan::Refuse(fault) => Judgement::Refused(fault),
    }
}

impl<R: Route> Keeper for Router<R> {
    type Observation = RoutingObservation<R::Found>;
    type Drift = RoutingDrift<R::Change>;
    type Held = Routing;
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
        self.sources.lack(R::OWN_ADDRESS)
    }

    async fn woken(&mut self) {
        self.look_early().await;
        self.sources.changed().await;
    }

    async fn observe(&mut self) -> Result<RoutingObservation<R::Found>, Fault> {
        let inputs = self.sources.inputs()?;
        let looked = match self.early.take() {
            Some((at, looked)) if at.elapsed() < EARLY && inputs.certified => looked,
            _ => self.look(&inputs).await?,
        };
        let PeerMemory { held, put_aside, asked_in, target, .. } = self.claimant;
        let basis = Basis {
            inputs,
            liveness: looked.liveness,
            held: held.is_some(),
            put_aside,
            asked_in,
            target: target.or(self.sources.at_rest.least()),
        };
        Ok(RoutingObservation { basis, looked })
    }

    fn judge(&self, seen: RoutingObservation<R::Found>) -> Judgement<Routing, RoutingDrift<R::Change>> {
        let wanted = seen.basis.wanted(&self.names, self.adopt);
        let judged = judged::<R>(&wanted, seen.basis.held, &seen.looked);
        judged.map(|change| RoutingDrift { basis: seen.basis, change })
    }

    async fn converge(&mut self, RoutingDrift { basis, change }: RoutingDrift<R::Change>) -> Result<(), Fault> {
        self.claimant.is_fresh()?;
        let wanted = basis.wanted(&self.names, self.adopt);
        self.route.carry_out(&basis.inputs.aws, &self.names, &wanted, change).await
    }

    /// What leads to this host alone is away before anything else is done; it is back once the host stays after all.
    async fn depart(&mut self) -> Result<(), Fault> {
        // Without these nothing ever led here.
        let Ok(inputs) = self.sources.inputs() else { return Ok(()) };
        self.route.depart(&inputs.aws, &self.names, &inputs.host.instance).await
    }

    fn holding(held: &Routing) -> String {
        R::holding(held)
    }

    fn drifting(drift: &RoutingDrift<R::Change>) -> String {
        R::why(&drift.change).to_owned()
    }
}

/// Waits until all name servers of `zone` know the change that was asked for, for that reason.
///
/// # Errors
/// What Route 53 refuses; records that were changed meanwhile.
async fn all_name_servers_know(zone: &Zone, why: &str, changed: Changed) -> Result<(), Fault> {
    match changed {
        Changed::Accepted(id) => {
            tracing::info!(change = id, "accepted");
            zone.in_sync(&id).await
        }
        Changed::Differed(said) => {
            Err(Fault::retry(why, format!("another writer changed the records meanwhile: {said}")))
        }
    }
}
