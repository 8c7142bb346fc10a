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
//! Who may take the names is [`right`](crate::claim::right); what a host is and does next is [`decision`]; both are pure, and the model test
//! drives them through thousands of drawn histories. This keeper only looks at what they need to know, treats visitors
//! as they say, and carries their steps out. The names themselves are the address keeper's.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::{
    aws::FleetState,
    claim::{Claim, Leads},
    config::{Succession as Policy, Then},
    departure::Outlook,
    fault::Fault,
    fleet::FleetClient,
    keeper::{Judgement, Keeper, Kept, Pace},
    listener::Answering,
    status::{Board, Going, Part, Role},
};

mod decision;
mod hand_over;
#[cfg(test)]
mod model;
mod newcomers;
mod phase;
pub mod rolling;
mod rollout;

pub use decision::{Decision, Inputs, Names, Step, TrafficMode, decide};
pub use hand_over::hand_over;
pub use newcomers::Newcomers;
pub use phase::{Change, Phase, Phases};
pub use rollout::{Goal, Progress, Sight};

/// How often the owner looks who else is in its fleet, at most.
const NEWCOMERS: Duration = Duration::from_secs(300);

/// What speaks for it is this old at most when a host is ended: whoever was stopped meanwhile, or had to wait for an answer,
/// knows nothing of what has become of the others.
const FRESH: Duration = Duration::from_secs(20);

/// What a host is in the succession, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standpoint {
    /// What it is.
    pub role: Role,
    /// Where the names lead, in words.
    pub why: String,
}

/// What the keeper is built from.
pub struct Sources {
    /// Where the names lead.
    pub leads: Kept<Leads>,
    /// Whether this host answers.
    pub answering: Kept<Answering>,
    /// What the instance is told.
    pub outlook: Kept<Outlook>,
}

/// Where the keeper says what follows from its role.
pub struct Effects {
    /// How visitors are treated.
    pub traffic: watch::Sender<TrafficMode>,
    /// That this host leaves.
    pub leaving: watch::Sender<Option<Going>>,
}

/// Keeper of a host's place in the succession.
pub struct Succession {
    policy: Policy,
    ttl: Duration,
    look: Duration,
    sources: Sources,
    effects: Effects,
    fleets: FleetClient,
    board: Board,
    begun: Instant,
    /// Since when the names lead elsewhere.
    aside: Option<Instant>,
    /// The claim, as a host has to read it that does not answer yet and so has no business with the names.
    claim: Option<Claim>,
    /// The other hosts of the fleet, and when they were last looked at, while this one is the owner.
    newcomers: (Newcomers, Option<Instant>),
    /// The epoch of the claim in which a host asked for a successor whose place was given back.
    given_back: Option<u64>,
    /// Whether people are led to every host, so that nobody follows another.
    of_many: bool,
}

impl Succession {
    /// Keeps the place of a host whose records live for `ttl`, looking every `look`.
    pub fn new(
        (policy, ttl, look): (Policy, Duration, Duration),
        sources: Sources,
        effects: Effects,
        fleets: FleetClient,
        board: Board,
    ) -> Succession {
        let begun = Instant::now();
        Succession {
            policy,
            ttl,
            look,
            sources,
            effects,
            fleets,
            board,
            begun,
            aside: None,
            claim: None,
            newcomers: (Newcomers::default(), None),
            given_back: None,
            of_many: false,
        }
    }

    /// The same for one of many hosts, all of which people are led to: none follows another, and none is asked for. One that
    /// never comes to answer is replaced all the same.
    #[must_use]
    pub fn of_many(self) -> Succession {
        let policy = Policy { rebalance: false, ..self.policy };
        Succession { policy, of_many: true, ..self }
    }

    /// A host without a fleet has nothing to leave: it stands by.
    fn policy(&self) -> Policy {
        match self.fleets.is_none() {
            true => Policy { then: Then::StandBy, ..self.policy.clone() },
            false => self.policy.clone(),
        }
    }

    fn names(&mut self) -> Names {
        match &*self.sources.leads.borrow() {
            None => Names::Unknown,
            Some(Leads::Here(_)) => {
                self.aside = None;
                Names::Here
            }
            Some(Leads::Elsewhere(other)) => {
                let since = self.aside.get_or_insert_with(Instant::now).elapsed();
                Names::Elsewhere { since, held: other.held, answers: other.answers }
            }
        }
    }

    fn inputs(&mut self) -> Inputs {
        let names = self.names();
        Inputs {
            running: self.begun.elapsed(),
            answered: self.sources.answering.borrow().is_some(),
            names,
            fleet: None,
            owes: false,
            recommended: *self.sources.outlook.borrow() == Some(Outlook::Recommended),
            overdue: self.overdue().is_some(),
        }
    }

    /// Looks at the fleet where it matters. Also whether a place is owed.
    async fn look_at_fleet(&mut self, role: Role) -> Result<(Option<FleetState>, bool), Fault> {
        // A host that answers at its address has the address keeper looking, unless that has come to nothing for long.
        let looks = self.sources.answering.borrow().is_some() && self.fleets.is_placed() && role != Role::Failed;
        if !looks {
            self.claim = self.fleets.claim().await?;
        }
        let (asked_in, target) = self.claimed();
        let floor = self.fleets.floor(target);
        let owes = asked_in.is_some() && asked_in > self.given_back;
        let matters = match role {
            Role::Superseded | Role::Standby | Role::Failed => !self.fleets.is_none(),
            Role::Owner if self.of_many => false,
            Role::Owner => floor.is_none() || owes || self.policy.rebalance || self.newcomers_are_due(),
            Role::Booting => owes,
            Role::Departing => false,
        };
        if !matters {
            return Ok((None, owes));
        }
        let Some(seen) = self.fleets.look().await? else { return Ok((None, owes)) };
        if role == Role::Owner && self.newcomers_are_due() {
            self.look_at_newcomers(floor.is_some_and(|floor| seen.members > floor)).await?;
        }
        // Nothing of ours changes what a fleet of many is to have.
        let floor = floor.or(self.of_many.then_some(seen.target));
        Ok((Some(FleetState { floor, ..seen }), owes))
    }

    fn newcomers_are_due(&self) -> bool {
        let pause = (self.policy.give_up / 10).min(NEWCOMERS);
        !self.fleets.is_none() && self.newcomers.1.is_none_or(|at| at.elapsed() >= pause)
    }

    /// Looks who else is there, where the fleet has more hosts than at rest.
    async fn look_at_newcomers(&mut self, too_many: bool) -> Result<(), Fault> {
        let others = if too_many { self.fleets.others().await? } else { Vec::new() };
        let mut seen = Vec::new();
        for (instance, address) in others {
            let answers = match address {
                Some(address) if !self.newcomers.0.has_answered(&instance) => self.fleets.answers_at(address).await,
                _ => false,
            };
            seen.push((instance, answers));
        }
        self.newcomers.0.seen(seen, self.begun.elapsed());
        self.newcomers.1 = Some(Instant::now());
        Ok(())
    }

    /// A host that has had twice the time after which it should have left by itself.
    fn overdue(&self) -> Option<String> {
        self.newcomers.0.overdue(self.policy.give_up * 2, self.begun.elapsed()).map(str::to_owned)
    }

    /// In which epoch a host asked for a successor, and how many hosts the fleet has at rest.
    fn claimed(&self) -> (Option<u64>, Option<u32>) {
        let here = self.fleets.location();
        let of = |claim: &Claim| (claim.asked_in(here.as_ref()), claim.target_in(here.as_ref()));
        match &*self.sources.leads.borrow() {
            Some(Leads::Here(here)) => (here.asked_in, here.target),
            Some(Leads::Elsewhere(other)) => of(&other.claim),
            None => self.claim.as_ref().map(of).unwrap_or_default(),
        }
    }

    fn why(&self) -> String {
        match &*self.sources.leads.borrow() {
            Some(leads) => leads.to_string(),
            None if self.sources.answering.borrow().is_none() => "it does not answer for the domain yet".to_owned(),
            None => "where the names lead is not known yet".to_owned(),
        }
    }
}

impl Keeper for Succession {
    type Seen = Inputs;
    type Drift = (Step, Standpoint);
    type Held = Standpoint;
    const PART: Part = Part::Succession;
    const NEEDS: &'static [Part] = &[Part::Listener, Part::Address];

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
            Ok(()) = self.sources.outlook.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn observe(&mut self) -> Result<Inputs, Fault> {
        let inputs = self.inputs();
        // What a host is follows from the names alone, and so does how it treats its visitors, whatever the fleet says.
        let now = decide(&self.policy(), self.ttl, &inputs);
        self.board.role(now.role, &self.why());
        self.effects.traffic.send_if_modified(|traffic| std::mem::replace(traffic, now.traffic) != now.traffic);
        let (fleet, owes) = self.look_at_fleet(now.role).await?;
        Ok(Inputs { fleet, owes, overdue: self.overdue().is_some(), ..inputs })
    }

    fn judge(&self, seen: Inputs) -> Judgement<Standpoint, (Step, Standpoint)> {
        let decision = decide(&self.policy(), self.ttl, &seen);
        let standpoint = Standpoint { role: decision.role, why: self.why() };
        match decision.step {
            None => Judgement::Kept(standpoint),
            Some(step) => Judgement::Drifted { drift: (step, standpoint.clone()), meanwhile: Some(standpoint) },
        }
    }

    async fn converge(&mut self, (step, _): (Step, Standpoint)) -> Result<(), Fault> {
        match step {
            Step::Lower { to } => {
                self.fleets.take_turn().await?;
                self.fleets.set_target(to).await?;
                let after = self.fleets.settled().await?;
                if after.members > after.target { self.leave().await } else { Ok(()) }
            }
            Step::Dismiss { to } => {
                self.fleets.take_turn().await?;
                if let Some(to) = to {
                    self.fleets.set_target(to).await?;
                    self.fleets.settled().await?;
                }
                self.dismiss().await
            }
            Step::Leave => {
                self.fleets.take_turn().await?;
                self.leave().await
            }
            Step::BeReplaced => {
                self.fleets.spend_a_replacement(self.policy.replacements).await?;
                self.end(true).await
            }
            Step::GiveBack { to } => {
                self.fleets.set_target(to).await?;
                self.given_back = self.claimed().0;
                Ok(())
            }
            Step::AskEarly { to } => {
                self.fleets.take_the_hours_turn().await?;
                self.fleets.set_target(to).await
            }
        }
    }

    fn holding(held: &Standpoint) -> String {
        format!("{}: {}", held.role, held.why)
    }

    fn drifting((step, _): &(Step, Standpoint)) -> String {
        step.to_string()
    }
}

impl Succession {
    /// Ends this host. A look is some time ago by now, so what speaks for it is looked at once more: that the fleet can spare
    /// a host, and that the one which the names lead to answers and stays. The claim is read anew, since this host may just
    /// be taking the names after one that goes, and an answer that was lost would leave it unaware that it has them.
    async fn leave(&mut self) -> Result<(), Fault> {
        let (doing, begun) = ("leaving the fleet", Instant::now());
        let elsewhere = match &*self.sources.leads.borrow() {
            Some(Leads::Elsewhere(_)) => true,
            Some(Leads::Here(_)) => return Err(Fault::retry(doing, "the names lead here again")),
            None => false,
        };
        let owner = if elsewhere { self.fleets.claim().await? } else { None };
        if let Some(owner) = &owner {
            if Some(&owner.instance) == self.fleets.instance().ok().as_ref() {
                return Err(Fault::retry(doing, "the names lead here again"));
            }
            if owner.departing {
                return Err(Fault::retry(doing, format!("{} says that it goes", owner.instance)));
            }
        }
        if let Some(owner) = &owner
            && !self.fleets.answers(owner).await
        {
            return Err(Fault::retry(doing, format!("{} does not answer any more", owner.instance)));
        }
        // Last, since whoever lowers the target meanwhile may have the fleet end the owner.
        let here = self.fleets.location();
        if !self.fleet_spares_one(owner.and_then(|owner| owner.target_in(here.as_ref()))).await? {
            return Err(Fault::retry(doing, "the fleet needs this host by now"));
        }
        still_fresh(doing, begun)?;
        self.end(false).await
    }

    /// Ends a host that has never answered, unless it does by now, or the fleet needs it.
    async fn dismiss(&mut self) -> Result<(), Fault> {
        let (doing, begun) = ("ending a host that has never answered", Instant::now());
        let Some(instance) = self.overdue() else { return Ok(()) };
        // A host that could see nothing for a while may have been followed meanwhile, and by that very one.
        let claim = self.fleets.claim().await?;
        let (owner, target) = claim.map(|claim| (claim.instance, claim.target)).unzip();
        if owner != Some(self.fleets.instance()?) {
            return Err(Fault::retry(doing, "the names lead to another host by now"));
        }
        let others = self.fleets.others().await?;
        let Some((_, address)) = others.into_iter().find(|(other, _)| *other == instance) else { return Ok(()) };
        if let Some(address) = address
            && self.fleets.answers_at(address).await
        {
            self.newcomers.0.seen([(instance, true)], self.begun.elapsed());
            return Ok(());
        }
        if !self.fleet_spares_one(target.flatten()).await? {
            return Err(Fault::retry(doing, "the fleet needs it by now"));
        }
        still_fresh(doing, begun)?;
        tracing::warn!(instance, "has never answered, and the fleet has one host too many: it is ended");
        self.fleets.dismiss(&instance).await?;
        self.newcomers.0.seen([], self.begun.elapsed());
        Ok(())
    }

    /// Whether the fleet can do with one host less, now; it has as many at rest as was just `claimed`, or is known.
    async fn fleet_spares_one(&mut self, claimed: Option<u32>) -> Result<bool, Fault> {
        let floor = self.fleets.floor(claimed.or(self.claimed().1));
        let fleet = self.fleets.look().await?;
        Ok(fleet.is_none_or(|seen| FleetState { floor, ..seen }.spares_one()))
    }

    async fn end(&mut self, replaced: bool) -> Result<(), Fault> {
        self.fleets.end(replaced).await?;
        self.effects.leaving.send_replace(Some(Going::by_leaving()));
        // From here on the runner abandons what is under way.
        std::future::pending().await
    }
}

fn still_fresh(doing: &str, begun: Instant) -> Result<(), Fault> {
    match begun.elapsed() <= FRESH {
        true => Ok(()),
        false => Err(Fault::retry(doing, "it took too long to see what speaks for it")),
    }
}
