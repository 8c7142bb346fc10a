//! One look: the claim where nobody else reads it, the fleet where it matters, and who else is there.

use std::net::IpAddr;

use super::{Context, Outcome, Request, Steps, unexpected};
use crate::{aws::FleetState, fault::Fault, status::Role, succession::decision::Inputs};

/// A look that is under way.
#[derive(Clone, Debug)]
pub(in crate::succession) struct Looking {
    /// What is known so far; before the look is over, nothing of the fleet.
    pub inputs: Inputs,
    role: Role,
    at: At,
}

#[derive(Clone, Debug)]
enum At {
    Claim,
    Fleet {
        owes: bool,
        floor: Option<u32>,
    },
    Others(Found),
    /// Asks the others one after the other.
    Newcomers {
        found: Found,
        asks: Vec<(String, IpAddr)>,
        seen: Vec<(String, bool)>,
    },
    Over,
}

/// The fleet, and whether a place in it is owed.
#[derive(Clone, Copy, Debug)]
struct Found {
    fleet: FleetState,
    floor: Option<u32>,
    owes: bool,
}

impl Looking {
    /// A look that begins now. What a host is follows from the names alone.
    pub(in crate::succession) fn new(context: &mut Context<'_>) -> Looking {
        let inputs = context.memory.inputs(context.watched, context.now);
        let role = context.memory.decide(context.watched.fleetless, &inputs).role;
        let mut looking = Looking { inputs, role, at: At::Claim };
        // A host that answers at its address has the address keeper looking, unless that has come to nothing for long.
        if context.watched.answers && context.watched.placed && role != Role::Failed {
            looking.at = looking.after_claim(context);
        }
        looking
    }

    /// The fleet is looked at only where that makes a difference.
    fn after_claim(&mut self, context: &mut Context<'_>) -> At {
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
        if matters { At::Fleet { owes, floor } } else { At::Over }
    }

    fn after_fleet(&mut self, found: Found, context: &mut Context<'_>) -> At {
        if self.role != Role::Owner || !context.memory.newcomers_are_due(context.watched, context.now) {
            return self.over(found, context);
        }
        if found.floor.is_some_and(|floor| found.fleet.members > floor) {
            return At::Others(found);
        }
        self.looked_at(Vec::new(), found, context)
    }

    fn after_some(
        &mut self,
        asks: Vec<(String, IpAddr)>,
        seen: Vec<(String, bool)>,
        found: Found,
        context: &mut Context<'_>,
    ) -> At {
        if !asks.is_empty() {
            return At::Newcomers { found, asks, seen };
        }
        self.looked_at(seen, found, context)
    }

    fn looked_at(&mut self, seen: Vec<(String, bool)>, found: Found, context: &mut Context<'_>) -> At {
        let running = context.memory.running(context.now);
        context.memory.newcomers.seen(seen, running);
        context.memory.looked_at_newcomers = Some(context.now);
        self.over(found, context)
    }

    fn over(&mut self, Found { fleet, floor, owes }: Found, context: &Context<'_>) -> At {
        // Nothing of ours changes what a fleet of many is to have.
        let floor = floor.or(context.memory.rules.of_many.then_some(fleet.target));
        self.inputs.fleet = Some(FleetState { floor, ..fleet });
        self.inputs.owes = owes;
        self.inputs.overdue = context.memory.overdue(context.now).is_some();
        At::Over
    }
}

impl Steps for Looking {
    fn next(&self, _: &Context<'_>) -> Result<Option<Request>, Fault> {
        Ok(match &self.at {
            At::Claim => Some(Request::ReadClaim),
            At::Fleet { .. } => Some(Request::LookAtFleet),
            At::Others(_) => Some(Request::ListOthers),
            At::Newcomers { asks, .. } => asks.last().map(|(_, address)| Request::AskAt(*address)),
            At::Over => None,
        })
    }

    fn came(&mut self, outcome: Outcome, context: &mut Context<'_>) -> Result<(), Fault> {
        let at = std::mem::replace(&mut self.at, At::Over);
        self.at = match (at, outcome) {
            (At::Claim, Outcome::Claim(claim)) => {
                context.memory.claim = claim;
                self.after_claim(context)
            }
            (At::Fleet { .. }, Outcome::Fleet(None)) => At::Over,
            (At::Fleet { owes, floor }, Outcome::Fleet(Some(fleet))) => {
                self.after_fleet(Found { fleet, floor, owes }, context)
            }
            (At::Others(found), Outcome::Others(others)) => {
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
            (At::Newcomers { found, mut asks, mut seen }, Outcome::Answers(answers)) => {
                seen.extend(asks.pop().map(|(instance, _)| (instance, answers)));
                self.after_some(asks, seen, found, context)
            }
            (_, outcome) => return Err(unexpected("looking at the fleet", outcome)),
        };
        Ok(())
    }
}
