//! Keeper: this host's place among the hosts that follow each other.
//!
//! ```text
//!              answers for the domain        the names lead here
//!    booting ───────────────────────► standby ◄────────────► owner ──── notice ───► departing
//!       │                                ▲  they lead elsewhere │
//!       │ never answers                  │ [then = "stand-by"]  ▼
//!       └─────────► failed               └───────────────── superseded ── [then = "retire"] ─► leaves the fleet
//! ```
//!
//! Who may take the names is [`takeover`](crate::claim::takeover); what a host is and does next is [`decide`]; both are pure. In
//! which order it asks and acts, and upon which conditions, is said by `steps.rs`, which does no I/O. The model test drives
//! all of it through thousands of drawn histories. This keeper only carries the requests out. The names themselves are the
//! address keeper's.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::{
    claim::Routing,
    clock,
    config::Succession as Policy,
    departure::{Departing, Interruption},
    fault::Fault,
    fleet::FleetClient,
    keeper::{Judgement, Keeper, Kept, Pace, within},
    listener::Answering,
    routing,
    status::{Part, Role, Shutdown},
};

mod decision;
#[cfg(test)]
mod model;
mod newcomers;
mod phase;
pub mod rolling;
mod rollout;
mod steps;

pub use decision::{Decision, DecisionInputs, FleetAction, Names, TrafficMode, decide};
pub use newcomers::Newcomers;
pub use phase::{Phase, PhaseChange, Phases};
pub use rollout::{Goal, RolloutProgress, Sight};

use steps::{Context, Correcting, HandingOver, Looking, Memory, Request, RequestOutcome, Rules, Steps, Watched};

/// The limit of the requests of one look. What a host is follows from the names alone, whatever the fleet says, so this comes
/// before the limit of the look itself.
const LOOK_LIMIT: Duration = Duration::from_secs(25);
/// How long before the end of an instance its records are removed, if they are: before it stops accepting.
const REMOVE_BEFORE: Duration = Duration::from_secs(20);

/// The role of a host in the succession, and how it treats its visitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessionState {
    /// What it is.
    pub role: Role,
    /// Where the names lead, in words.
    pub why: String,
    /// How visitors are treated.
    pub traffic: TrafficMode,
}

/// The yields that the keeper is built from.
pub struct SuccessionSources {
    /// Where the names lead.
    pub leads: Kept<Routing>,
    /// Whether this host answers.
    pub answering: Kept<Answering>,
    /// What the instance is told.
    pub interruption: Kept<Interruption>,
    /// Why and until when the host departs, if it does.
    pub departs: watch::Receiver<Option<Shutdown>>,
    /// Whether its visitors have gone.
    pub drained: watch::Receiver<bool>,
}

/// One look at the routing and the fleet.
pub struct SuccessionObservation {
    inputs: DecisionInputs,
    /// Where the names lead, in words.
    why: String,
    /// Whether it is known that there is no fleet.
    fleetless: bool,
    /// What kept the host from looking at its fleet.
    failed: Option<Fault>,
}

/// Keeper of a host's place in the succession.
pub struct SuccessionKeeper {
    look: Duration,
    sources: SuccessionSources,
    fleet: FleetClient,
    memory: Memory,
    begun: Instant,
    departing: Departing,
    /// Whether it has ended itself.
    left: bool,
    /// The rest of a departure.
    handing_over: Option<HandingOver>,
}

impl SuccessionKeeper {
    /// Keeps the place of a host whose records live for `ttl`, looking every `look`. One that has ended itself departs.
    pub fn new(
        policy: Policy,
        ttl: Duration,
        look: Duration,
        sources: SuccessionSources,
        departing: Departing,
        fleet: FleetClient,
    ) -> SuccessionKeeper {
        let memory = Memory::new(Rules { policy, ttl, of_many: false }, Duration::ZERO);
        let begun = Instant::now();
        SuccessionKeeper { look, sources, fleet, memory, begun, departing, left: false, handing_over: None }
    }

    /// The same for one of many hosts, all of which people are led to: none follows another, and none is asked for. One that
    /// never comes to answer is replaced all the same.
    #[must_use]
    pub fn of_many(mut self) -> SuccessionKeeper {
        self.memory.rules.of_many = true;
        self.memory.rules.policy.rebalance = false;
        self
    }

    fn watched(&self) -> Watched {
        Watched {
            leads: self.sources.leads.borrow().clone(),
            answers: self.sources.answering.borrow().is_some(),
            placed: self.fleet.is_placed(),
            recommended: *self.sources.interruption.borrow() == Some(Interruption::Recommended),
            instance: self.fleet.instance().ok(),
            location: self.fleet.location(),
            fleetless: self.fleet.is_none(),
            at_rest: self.fleet.floor(None),
        }
    }

    /// Lets `act` go by what the host remembers and knows at this moment.
    fn now<T>(&mut self, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let watched = self.watched();
        act(&mut Context { memory: &mut self.memory, watched: &watched, now: self.begun.elapsed() })
    }

    /// Carries out `steps`, request by request.
    async fn drive(&mut self, steps: &mut (impl Steps + Send)) -> Result<(), Fault> {
        while let Some(request) = self.now(|context| steps.next(context))? {
            let outcome = self.carry_out(request).await.unwrap_or_else(RequestOutcome::Failed);
            self.now(|context| steps.came(outcome, context))?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, request: Request) -> Result<RequestOutcome, Fault> {
        match request {
            Request::ReadClaim => return self.fleet.claim().await.map(RequestOutcome::Claim),
            Request::LookAtFleet => return self.fleet.look().await.map(RequestOutcome::Fleet),
            Request::ListOthers => return self.fleet.others().await.map(RequestOutcome::Others),
            Request::AskAt(address) => return Ok(RequestOutcome::Answers(self.fleet.answers_at(address).await)),
            Request::AskClaimant(claim) => return Ok(RequestOutcome::Answers(self.fleet.answers(&claim).await)),
            Request::Settle => return self.fleet.settled().await.map(|fleet| RequestOutcome::Fleet(Some(fleet))),
            Request::TakeTurn => self.fleet.take_turn().await?,
            Request::TakeEarlyTurn => self.fleet.take_the_hours_turn().await?,
            Request::SpendReplacement(many) => self.fleet.spend_a_replacement(many).await?,
            Request::SetTarget(to) => self.fleet.set_target(to).await?,
            Request::Dismiss(instance) => self.fleet.dismiss(&instance).await?,
            Request::End { replaced } => self.fleet.end(replaced).await?,
            Request::SayDeparting { asked } => self.fleet.say_departing(asked).await?,
            Request::RemoveRecords => {
                let until = self.sources.departs.borrow().as_ref().and_then(|going| going.until);
                let left = until.and_then(|until| Duration::try_from(until - clock::now()).ok());
                tokio::time::sleep(left.unwrap_or_default().saturating_sub(REMOVE_BEFORE)).await;
                if let Some((aws, host)) = self.fleet.known() {
                    let removed = routing::remove(self.fleet.names(), &aws, &host).await?;
                    tracing::info!(removed, "the records that lead here");
                }
            }
            Request::Drain => {
                if self.sources.drained.wait_for(|drained| *drained).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
        Ok(RequestOutcome::Done)
    }

    fn why(&self) -> String {
        match &*self.sources.leads.borrow() {
            Some(leads) => leads.to_string(),
            None if self.sources.answering.borrow().is_none() => "it does not answer for the domain yet".to_owned(),
            None => "where the names lead is not known yet".to_owned(),
        }
    }
}

impl Keeper for SuccessionKeeper {
    type Observation = SuccessionObservation;
    type Drift = FleetAction;
    type Held = SuccessionState;
    const PART: Part = Part::Succession;
    const NEEDS: &'static [Part] = &[Part::Listener, Part::Address];
    // What a host is in the succession is seen of those that run.
    const CHECKED: bool = false;
    const DEPARTS_WITHIN: Duration = Duration::from_secs(300);

    fn pace(&self) -> Pace {
        Pace {
            look: self.look,
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(300),
            longest_pause: Duration::from_secs(60),
        }
    }

    async fn woken(&mut self) {
        tokio::select! {
            Ok(()) = self.sources.leads.changed() => {}
            Ok(()) = self.sources.answering.changed() => {}
            Ok(()) = self.sources.interruption.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn observe(&mut self) -> Result<SuccessionObservation, Fault> {
        // A departure that was called off is over, and the next one begins anew.
        self.handing_over = None;
        let mut looking = self.now(Looking::new);
        let why = self.why();
        let mut failed = None;
        if !self.left {
            failed = within(LOOK_LIMIT, "looking", self.drive(&mut looking)).await.err();
        }
        Ok(SuccessionObservation { inputs: looking.inputs, why, fleetless: self.fleet.is_none(), failed })
    }

    fn judge(
        &self,
        SuccessionObservation { inputs, why, fleetless, failed }: SuccessionObservation,
    ) -> Judgement<SuccessionState, FleetAction> {
        let Decision { role, traffic, step } = self.memory.decide(fleetless, &inputs);
        let held = SuccessionState { role, why, traffic };
        match (failed, step) {
            (Some(fault), _) => Judgement::Unseen { held, fault },
            (None, None) => Judgement::Kept(held),
            (None, Some(drift)) => Judgement::Drifted { drift, meanwhile: Some(held) },
        }
    }

    async fn converge(&mut self, step: FleetAction) -> Result<(), Fault> {
        let mut correcting = Correcting::new(step);
        self.drive(&mut correcting).await?;
        if correcting.has_left() {
            self.left = true;
            self.departing.goes(Shutdown::by_leaving());
        }
        Ok(())
    }

    /// Hands over where the instance is about to be taken: one that only ends its process stays. Where people are led to every
    /// host its fleet replaces one that goes, and none has to follow.
    async fn depart(&mut self) -> Result<(), Fault> {
        let taken = self.sources.departs.borrow().as_ref().is_some_and(|going| going.until.is_some());
        if !taken || self.memory.rules.of_many {
            return Ok(());
        }
        let removes = self.fleet.removes_records();
        let begun = self.handing_over.clone();
        let mut handing_over = begun.unwrap_or_else(|| self.now(|context| HandingOver::new(removes, context)));
        while let Some(request) = self.now(|context| handing_over.next(context))? {
            // A try after one that was cut off goes on from here.
            self.handing_over = Some(handing_over.clone());
            let outcome = self.carry_out(request).await.unwrap_or_else(RequestOutcome::Failed);
            self.now(|context| handing_over.came(outcome, context))?;
        }
        self.handing_over = Some(handing_over);
        Ok(())
    }

    fn role(held: &SuccessionState) -> Option<(Role, &str)> {
        Some((held.role, &held.why))
    }

    fn holding(held: &SuccessionState) -> String {
        format!("{}: {}", held.role, held.why)
    }

    fn drifting(step: &FleetAction) -> String {
        step.to_string()
    }
}
