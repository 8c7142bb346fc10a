//! One look: the claim where no other keeper reads it, the fleet where it matters, and the other hosts.

use std::net::IpAddr;

use super::{Context, Request, RequestOutcome, Steps, unexpected};
use crate::{aws::FleetState, fault::Fault, status::Role, succession::decision::DecisionInputs};

/// A look that is under way.
#[derive(Clone, Debug)]
pub(in crate::succession) struct Looking {
    /// What is known so far; before the look is over, nothing of the fleet.
    pub inputs: DecisionInputs,
    role: Role,
    at: LookState,
}

#[derive(Clone, Debug)]
enum LookState {
    Claim,
    Fleet {
        owes: bool,
        floor: Option<u32>,
    },
    Others(FleetPlaces),
    /// Asks the others one after the other.
    Newcomers {
        found: FleetPlaces,
        asks: Vec<(String, IpAddr)>,
        seen: Vec<(String, bool)>,
    },
    Over,
}

/// The fleet, and whether a place in it is owed.
#[derive(Clone, Copy, Debug)]
struct FleetPlaces {
    fleet: FleetState,
    floor: Option<u32>,
    owes: bool,
}

impl Looking {
    /// A look that begins now. What a host is follows from the names alone.
    pub(in crate::succession) fn new(context: &mut Context<'_>) -> Looking {
        let inputs = context.memory.inputs(context.watched, context.now);
        let role = context.memory.decide(context.watched.fleetless, &inputs).role;
        let mut looking = Looking { inputs, role, at: LookState::Claim };
        // A host that answers at its address has the address keeper looking, unless that has come to nothing for long.
        if context.watched.answers && context.watched.placed && role != Role::Failed {
            looking.at = looking.after_claim(context);
        }
        looking
    }

    /// The fleet is looked at only where that makes a difference.
    fn after_claim(&mut self, context: &mut Context<'_>) -> LookState {
        let Context { memory, watched, now } = context;
        let (asked_in, target) = memory.claimed(watched);
        let floor = watched.floor(target);
        let owes = asked_in.is_some() && asked_in > memory.given_back;
        let matters = match self.role {
            Role::Superseded | Role::Standby | Role::Failed => !watched.fleetless,
            Role::Owner if memory.rules.of_many => false,
            Role::Owner => {
                floor.is_none() || owes || memory.rules.policy.rebalance || memory.newcomers_are_due(watched, *now)
            }
            Role::Booting => owes,
            Role::Departing => false,
        };
        self.inputs.owes = owes;
        if matters { LookState::Fleet { owes, floor } } else { LookState::Over }
    }

    fn after_fleet(&mut self, found: FleetPlaces, context: &mut Context<'_>) -> LookState {
        if self.role != Role::Owner || !context.memory.newcomers_are_due(context.watched, context.now) {
            return self.over(found, context);
        }
        if found.floor.is_some_and(|floor| found.fleet.members > floor) {
            return LookState::Others(found);
        }
        self.looked_at(Vec::new(), found, context)
    }

    fn after_some(
        &mut self,
        asks: Vec<(String, IpAddr)>,
        seen: Vec<(String, bool)>,
        found: FleetPlaces,
        context: &mut Context<'_>,
    ) -> LookState {
        if !asks.is_empty() {
            return LookState::Newcomers { found, asks, seen };
        }
        self.looked_at(seen, found, context)
    }

    fn looked_at(&mut self, seen: Vec<(String, bool)>, found: FleetPlaces, context: &mut Context<'_>) -> LookState {
        let running = context.memory.running(context.now);
        context.memory.newcomers.seen(seen, running);
        context.memory.looked_at_newcomers = Some(context.now);
        self.over(found, context)
    }

    fn over(&mut self, FleetPlaces { fleet, floor, owes }: FleetPlaces, context: &Context<'_>) -> LookState {
        // Nothing of ours changes what a fleet of many is to have.
        let floor = floor.or(context.memory.rules.of_many.then_some(fleet.target));
        self.inputs.fleet = Some(FleetState { floor, ..fleet });
        self.inputs.owes = owes;
        self.inputs.overdue = context.memory.overdue(context.now).is_some();
        LookState::Over
    }
}

impl Steps for Looking {
    fn next(&self, _: &Context<'_>) -> Result<Option<Request>, Fault> {
        Ok(match &self.at {
            LookState::Claim => Some(Request::ReadClaim),
            LookState::Fleet { .. } => Some(Request::LookAtFleet),
            LookState::Others(_) => Some(Request::ListOthers),
            LookState::Newcomers { asks, .. } => asks.last().map(|(_, address)| Request::AskAt(*address)),
            LookState::Over => None,
        })
    }

    fn came(&mut self, outcome: RequestOutcome, context: &mut Context<'_>) -> Result<(), Fault> {
        let at = std::mem::replace(&mut self.at, LookState::Over);
        self.at = match (at, outcome) {
            (LookState::Claim, RequestOutcome::Claim(claim)) => {
                context.memory.claim = claim;
                self.after_claim(context)
            }
            (LookState::Fleet { .. }, RequestOutcome::Fleet(None)) => LookState::Over,
            (LookState::Fleet { owes, floor }, RequestOutcome::Fleet(Some(fleet))) => {
                self.after_fleet(FleetPlaces { fleet, floor, owes }, context)
            }
            (LookState::Others(found), RequestOutcome::Others(others)) => {
                let mut asks = Vec::new();
                let mut seen = Vec::new();
                for (instance, address) in others {
                    match address.filter(|_| !context.memory.newcomers.has_answered(&instance)) {
                        Some(address) => asks.push((instance, address)),
                        None => seen.push((instance, false)),
                    }
                }
                self.after_some(asks, seen, found, context)
            }
            (LookState::Newcomers { found, mut asks, mut seen }, RequestOutcome::Answers(answers)) => {
                seen.extend(asks.pop().map(|(instance, _)| (instance, answers)));
                self.after_some(asks, seen, found, context)
            }
            (_, outcome) => return Err(unexpected("looking at the fleet", outcome)),
        };
        Ok(())
    }
}
