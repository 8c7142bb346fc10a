//! What the departure of a host that is taken is for: the fleet is asked for a successor, and the claim says that this host
//! goes, so that any host may follow.

use super::{Context, Request, RequestOutcome, Steps, unexpected};
use crate::{aws::FleetState, claim::Routing, fault::Fault};

/// A host that hands over.
#[derive(Clone, Debug)]
pub(in crate::succession) struct HandingOver {
    /// Whether it removes the records that lead here if none has followed.
    removes: bool,
    /// How many hosts the fleet has at rest, as this host's claim says.
    claimed: Option<u32>,
    at: HandoverState,
}

#[derive(Clone, Copy, Debug)]
enum HandoverState {
    /// Looks whether a successor is on its way.
    Look,
    /// Raises the target by one, from that.
    Raise(u32),
    /// Says in the claim that it goes; from which target it has asked for a successor, if it has.
    Say(Option<u32>),
    Remove(Option<u32>),
    /// Has asked for a successor, so that its own place is to be given back once visitors have gone; from which target.
    Drain(u32),
    GiveBack(u32),
    /// Takes the turn to leave. Two hosts that look at once would each lower the target by one.
    Turn(u32),
    /// It is its turn, and it looks once more.
    GiveBackInTurn(u32),
    End,
    Over,
}

impl HandingOver {
    /// A host that is about to be taken, which `removes` its records in the end or leaves them. It hands nothing over unless
    /// the names lead to it.
    pub(in crate::succession) fn new(removes: bool, context: &Context<'_>) -> HandingOver {
        match &context.watched.leads {
            Some(Routing::Here(here)) => HandingOver { removes, claimed: here.target, at: HandoverState::Look },
            _ => HandingOver { removes, claimed: None, at: HandoverState::Over },
        }
    }

    /// Whether the fleet has no host on the way, so that it is to be asked.
    fn lacks_a_successor(&self, fleet: &FleetState, context: &Context<'_>) -> bool {
        let floor = context.watched.floor(self.claimed);
        floor.is_none_or(|floor| fleet.target <= floor) && fleet.members <= fleet.target
    }

    /// Whether this host is to end itself and lower the target with it, which was `before` when it asked for a successor.
    fn gives_back(&self, fleet: &FleetState, before: u32, context: &Context<'_>) -> bool {
        let floor = context.watched.floor(self.claimed).unwrap_or(before);
        fleet.leaves_in_one && fleet.target > floor
    }

    fn after_records(asked: Option<u32>) -> HandoverState {
        asked.map_or(HandoverState::Over, HandoverState::Drain)
    }
}

impl Steps for HandingOver {
    fn next(&self, _: &Context<'_>) -> Result<Option<Request>, Fault> {
        Ok(match self.at {
            HandoverState::Look | HandoverState::GiveBack(_) | HandoverState::GiveBackInTurn(_) => {
                Some(Request::LookAtFleet)
            }
            HandoverState::Turn(_) => Some(Request::TakeTurn),
            HandoverState::Raise(before) => Some(Request::SetTarget(before + 1)),
            HandoverState::Say(asked) => Some(Request::SayDeparting { asked }),
            HandoverState::Remove(_) => Some(Request::RemoveRecords),
            HandoverState::Drain(_) => Some(Request::Drain),
            HandoverState::End => Some(Request::End { replaced: false }),
            HandoverState::Over => None,
        })
    }

    /// A claim that does not say it yet is written again, and a turn that is another's asked for again; without the rest the host goes
    /// all the same. A group that has taken the host before its turn came replaces it, and the host that is too many then leaves.
    fn came(&mut self, outcome: RequestOutcome, context: &mut Context<'_>) -> Result<(), Fault> {
        self.at = match (self.at, outcome) {
            (HandoverState::Look, RequestOutcome::Fleet(Some(fleet))) if self.lacks_a_successor(&fleet, context) => {
                HandoverState::Raise(fleet.target)
            }
            (HandoverState::Look, RequestOutcome::Fleet(_)) => HandoverState::Say(None),
            (HandoverState::Raise(before), RequestOutcome::Done) => {
                tracing::info!(target = before + 1, "a successor is asked for");
                HandoverState::Say(Some(before))
            }
            (HandoverState::Look | HandoverState::Raise(_), RequestOutcome::Failed(fault)) => {
                tracing::warn!(%fault, "no successor was asked for");
                HandoverState::Say(None)
            }
            (HandoverState::Say(asked), RequestOutcome::Done) if self.removes => HandoverState::Remove(asked),
            (HandoverState::Say(asked), RequestOutcome::Done) => Self::after_records(asked),
            (HandoverState::Remove(asked), RequestOutcome::Done) => Self::after_records(asked),
            (HandoverState::Remove(asked), RequestOutcome::Failed(fault)) => {
                tracing::warn!(%fault, "the records that lead here were not removed");
                Self::after_records(asked)
            }
            (HandoverState::Drain(before), RequestOutcome::Done) => HandoverState::GiveBack(before),
            // A group that is told to end this host, and to lower its target with it, starts no other in its place. In the other
            // fleets a lowered target ends no host, and the successor gives the place back. A person may have lowered it meanwhile.
            (HandoverState::GiveBack(before), RequestOutcome::Fleet(Some(fleet)))
                if self.gives_back(&fleet, before, context) =>
            {
                HandoverState::Turn(before)
            }
            (HandoverState::Turn(before), RequestOutcome::Done) => HandoverState::GiveBackInTurn(before),
            (HandoverState::GiveBackInTurn(before), RequestOutcome::Fleet(Some(fleet)))
                if self.gives_back(&fleet, before, context) =>
            {
                HandoverState::End
            }
            (HandoverState::GiveBack(_) | HandoverState::GiveBackInTurn(_), RequestOutcome::Fleet(_)) => {
                HandoverState::Over
            }
            (
                HandoverState::GiveBack(_) | HandoverState::GiveBackInTurn(_) | HandoverState::End,
                RequestOutcome::Failed(fault),
            ) => {
                tracing::warn!(%fault, "the place of this host was not given back to the fleet");
                HandoverState::Over
            }
            (HandoverState::End, RequestOutcome::Done) => HandoverState::Over,
            (_, outcome) => return Err(unexpected("handing over", outcome)),
        };
        Ok(())
    }
}
