//! The common part of all routes' plans: the desired state, and the next action. Pure.

use super::foreign::{browsers_elsewhere, free, left_out};
use crate::{
    aws::{
        Host,
        zone::{RecordChange, RecordType, Records},
    },
    claim::{
        Claim, Liveness, RoutedHere, Takeover, TakeoverReason, records::addresses, takeover,
        takeover_without_certificate,
    },
    fault::Fault,
    place::Name,
};

/// The desired state, and the facts for the decision beside the route's own.
#[derive(Clone, Copy)]
pub struct DesiredRouting<'a> {
    /// The host that the names should lead to.
    pub(crate) host: &'a Host,
    /// The names, the canonical one first.
    pub(crate) names: &'a [Name],
    /// Time to live, in seconds.
    pub(crate) ttl: u32,
    /// Whether records that no host claims may be taken over.
    pub(crate) adopt: bool,
    /// Whether the host held the names before, and another has followed since.
    pub(crate) put_aside: bool,
    /// How many hosts the fleet has at rest, where that is known.
    pub(crate) target: Option<u32>,
    /// Entity tag of the package that is served.
    pub(crate) package: &'a str,
    /// Whether the host has a certificate to answer with; one that has none can only say what it waits for.
    pub(crate) certified: bool,
    /// The epoch of the last claim in which another host said that it goes, and has asked the fleet for a successor.
    pub(crate) asked_in: Option<u64>,
    /// How the other host stands that claims the names, if one does.
    pub(crate) claimant: Liveness,
}

/// The next action that leads visitors here, by changes of the kind that a route has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingPlan<C> {
    /// Nothing: they are.
    Leads(RoutedHere),
    /// This.
    Change(C),
    /// Nothing before this host has that.
    Wait(String),
    /// Nothing: another host holds the names.
    StandAside(Claim),
    /// Nothing: a person has to decide.
    Refuse(Fault),
}

impl<C> RoutingPlan<C> {
    /// The same, with the change as `carried` has it.
    pub(super) fn map<D>(self, carried: impl FnOnce(C) -> D) -> RoutingPlan<D> {
        match self {
            RoutingPlan::Leads(leads) => RoutingPlan::Leads(leads),
            RoutingPlan::Change(change) => RoutingPlan::Change(carried(change)),
            RoutingPlan::Wait(need) => RoutingPlan::Wait(need),
            RoutingPlan::StandAside(claim) => RoutingPlan::StandAside(claim),
            RoutingPlan::Refuse(fault) => RoutingPlan::Refuse(fault),
        }
    }
}

impl DesiredRouting<'_> {
    /// The right of the host, given that claim.
    pub(super) fn takeover(&self, claim: Option<&Claim>) -> Takeover {
        if self.certified {
            takeover(self.host, self.put_aside, claim, self.claimant)
        } else {
            takeover_without_certificate(self.host, claim, self.claimant)
        }
    }

    /// Whether the host's own claim says all that there is to be said.
    pub(super) fn is_said_by(&self, claim: &Claim) -> bool {
        let says_where = claim.location == self.host.location();
        let says_target = claim.target.is_some() || self.target.is_none();
        !claim.departing && claim.waiting != self.certified && says_where && says_target
    }

    /// The claim that follows that one, by that right.
    pub(super) fn next(&self, claim: Option<&Claim>, takeover: Takeover) -> Claim {
        let over = match (takeover, claim) {
            (Takeover::Hold, Some(claim)) => claim.over.clone(),
            (Takeover::Take(TakeoverReason::Departing | TakeoverReason::Gone), Some(claim)) => {
                Some(claim.instance.clone())
            }
            _ => None,
        };
        let here = self.host.location();
        let target = claim.and_then(|claim| claim.target_in(here.as_ref())).or(self.target);
        let elsewhere = claim.and_then(|claim| claim.elsewhere_of(here.as_ref()));
        let epoch = claim.map_or(0, |claim| claim.epoch) + 1;
        let waiting = !self.certified;
        Claim { over, target, elsewhere, waiting, ..Claim::of(self.host, epoch).serving(self.package) }
    }

    /// Of names that lead here otherwise, what does not: a name that is left out, or browsers that are led elsewhere. It is no
    /// reason to let go of the others.
    ///
    /// # Errors
    /// The first of that, for a person.
    pub(super) fn all_lead_here(&self, seen: &[Records]) -> Result<(), Fault> {
        let astray = || browsers_elsewhere(self.names, seen, &addresses(self.host));
        left_out(self.names, seen, self.adopt).or_else(astray).map_or(Ok(()), Err)
    }

    /// The routing once visitors are led to `to`, by that claim of this host's.
    pub(super) fn held(&self, to: String, claim: &Claim) -> RoutedHere {
        RoutedHere { to, epoch: claim.epoch, target: claim.target, asked_in: self.asked_in }
    }
}

/// The reason for a change, in one phrase.
pub(super) fn why(claim: Option<&Claim>, takeover: Takeover, host: &Host, only_claim: bool) -> String {
    let to = addresses(host).join(" and ");
    match (claim, takeover) {
        (Some(_), Takeover::Hold) if only_claim => format!("claiming the names for {to} anew"),
        (Some(claim), Takeover::Take(TakeoverReason::Waiting)) => {
            format!("leading the names to {to}, after {}, which waits for its certificate", claim.instance)
        }
        (Some(_), Takeover::Hold) => format!("leading the names back to {to}"),
        (Some(claim), Takeover::Take(TakeoverReason::Departing)) => {
            format!("leading the names to {to}, after {}, which says that it is leaving", claim.instance)
        }
        (Some(claim), Takeover::Take(TakeoverReason::Gone)) => {
            format!("leading the names to {to}, after {}, which is gone", claim.instance)
        }
        (Some(claim), _) => format!("leading the names to {to}, after {}", claim.instance),
        (None, _) => format!("leading the names to {to}, which no host claims"),
    }
}

/// The steps for all names; none where all is as it should be. Where the names are `claimed`, a further name at which people
/// have put something that is in the way is left out ([`super::foreign::left_out`] tells it): the others are not to lead to a
/// host that is gone because of it.
///
/// # Errors
/// The obstacle at the first name; at any name, where no host claims the names.
pub(super) fn record_steps(
    wanted: &DesiredRouting<'_>,
    seen: &[Records],
    claimed: bool,
) -> Result<Vec<RecordChange>, Fault> {
    let v4 = wanted.host.ipv4.map(|ip| ip.to_string());
    let v6 = wanted.host.ipv6.map(|ip| ip.to_string());
    let mut steps = Vec::new();
    for name in free(wanted.names, seen, wanted.adopt, claimed)? {
        for (kind, address) in [(RecordType::A, &v4), (RecordType::Aaaa, &v6)] {
            let there = seen.iter().find(|set| set.name == name.as_str() && set.kind == kind);
            steps.extend(record_step(name, kind, address.as_deref(), there, wanted.ttl));
        }
    }
    Ok(steps)
}

fn record_step(
    name: &Name,
    kind: RecordType,
    address: Option<&str>,
    there: Option<&Records>,
    ttl: u32,
) -> Option<RecordChange> {
    let should = address.map(|address| Records::simple(name.as_str(), kind, ttl, vec![address.to_owned()]));
    match (should, there) {
        (Some(should), there) if there == Some(&should) => None,
        (Some(should), _) => Some(RecordChange::Upsert(should)),
        // Visitors would be led elsewhere by a family that this host has no address of.
        (None, there) => there.cloned().map(RecordChange::Delete),
    }
}

/// What the tests of all routes plan for: a host with a certificate, where a claimant lives.
#[cfg(test)]
pub(super) fn wanted<'a>(host: &'a Host, names: &'a [Name]) -> DesiredRouting<'a> {
    DesiredRouting {
        host,
        names,
        ttl: 60,
        adopt: false,
        put_aside: false,
        target: None,
        package: "",
        certified: true,
        asked_in: None,
        claimant: Liveness::Lives,
    }
}
