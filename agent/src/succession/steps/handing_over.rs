//! What the departure of a host that is taken is for: the fleet is asked for a successor, and the claim says that this host
//! goes, so that any host may follow.

use super::{Context, Outcome, Request, Steps, unexpected};
use crate::{aws::FleetState, claim::Routing, fault::Fault};

/// A host that hands over.
#[derive(Clone, Debug)]
pub(in crate::succession) struct HandingOver {
    /// Whether it removes the records that lead here if none has followed.
    removes: bool,
    /// How many hosts the fleet has at rest, as this host's claim says.
    claimed: Option<u32>,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
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
    End,
    Over,
}

impl HandingOver {
    /// A host that is about to be taken, which `removes` its records in the end or leaves them. It hands nothing over unless
    /// the names lead to it.
    pub(in crate::succession) fn new(removes: bool, context: &Context<'_>) -> HandingOver {
        match &context.watched.leads {
            Some(Routing::Here(here)) => HandingOver { removes, claimed: here.target, at: At::Look },
            _ => HandingOver { removes, claimed: None, at: At::Over },
        }
    }

    /// Whether the fleet has nobody on the way, so that it is to be asked.
    fn lacks_a_successor(&self, fleet: &FleetState, context: &Context<'_>) -> bool {
        let floor = context.watched.floor(self.claimed);
        floor.is_none_or(|floor| fleet.target <= floor) && fleet.members <= fleet.target
    }

    fn after_records(asked: Option<u32>) -> At {
        asked.map_or(At::Over, At::Drain)
    }
}

impl Steps for HandingOver {
    fn next(&self, _: &Context<'_>) -> Result<Option<Request>, Fault> {
        Ok(match self.at {
            At::Look | At::GiveBack(_) => Some(Request::LookAtFleet),
            At::Raise(before) => Some(Request::SetTarget(before + 1)),
            At::Say(asked) => Some(Request::SayDeparting { asked }),
            At::Remove(_) => Some(Request::RemoveRecords),
            At::Drain(_) => Some(Request::Drain),
            At::End => Some(Request::End { replaced: false }),
            At::Over => None,
        })
    }

    /// A claim that does not say it yet is written again; without the rest the host goes all the same.
    fn came(&mut self, outcome: Outcome, context: &mut Context<'_>) -> Result<(), Fault> {
        self.at = match (self.at, outcome) {
            (At::Look, Outcome::Fleet(Some(fleet))) if self.lacks_a_successor(&fleet, context) => {
                At::Raise(fleet.target)
            }
            (At::Look, Outcome::Fleet(_)) => At::Say(None),
            (At::Raise(before), Outcome::Done) => {
                tracing::info!(target = before + 1, "a successor is asked for");
                At::Say(Some(before))
            }
            (At::Look | At::Raise(_), Outcome::Failed(fault)) => {
                tracing::warn!(%fault, "no successor was asked for");
                At::Say(None)
            }
            (At::Say(asked), Outcome::Done) if self.removes => At::Remove(asked),
            (At::Say(asked), Outcome::Done) => Self::after_records(asked),
            (At::Remove(asked), Outcome::Done) => Self::after_records(asked),
            (At::Remove(asked), Outcome::Failed(fault)) => {
                tracing::warn!(%fault, "the records that lead here stay");
                Self::after_records(asked)
            }
            (At::Drain(before), Outcome::Done) => At::GiveBack(before),
            // A group that is told to end this host, and to lower its target with it, starts no other in its place. In the other
            // fleets a lowered target ends nobody, and the successor gives the place back. Somebody may have lowered it meanwhile.
            (At::GiveBack(before), Outcome::Fleet(fleet)) => {
                let floor = context.watched.floor(self.claimed).unwrap_or(before);
                match fleet {
                    Some(fleet) if fleet.leaves_in_one && fleet.target > floor => At::End,
                    _ => At::Over,
                }
            }
            (At::GiveBack(_) | At::End, Outcome::Failed(fault)) => {
                tracing::warn!(%fault, "the place of this host is not given back");
                At::Over
            }
            (At::End, Outcome::Done) => At::Over,
            (_, outcome) => return Err(unexpected("handing over", outcome)),
        };
        Ok(())
    }
}
