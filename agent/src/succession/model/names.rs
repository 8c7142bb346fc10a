//! The address keeper: reads the zone, decides, sends.

use std::{mem, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::{Broken, Flaw, Kind, LOOK, Seconds, TTL, host::OfNames, world::World, zone::number as number_of};
use crate::{
    aws::{
        InstanceState,
        zone::{RecordChange as Batch, Records},
    },
    claim::{Claim, Liveness, RoutedElsewhere, Routing, could_know, records::claim},
    routing::{
        plan::{DesiredRouting, RoutingPlan},
        records::plan::plan,
    },
};

impl World {
    /// One step of it; after how long the next one comes.
    pub(super) fn step_of_names(&mut self, number: u32) -> Result<Seconds, Broken> {
        match mem::replace(&mut self.host(number).names.0, OfNames::Rest) {
            OfNames::Rest => Ok(self.read(number)),
            OfNames::Read(records, answers) => Ok(self.decide(number, &records, answers)),
            // What it saw is too old to act upon: it was stopped meanwhile, and looks again.
            OfNames::Sent(_) if self.hosts[&number].claimant.is_fresh_at(self.clock()).is_err() => Ok(1),
            OfNames::Sent(batch) => self.arrive(number, &batch),
        }
    }

    /// The time as hosts tell it.
    pub(super) fn clock(&self) -> Instant {
        self.begun + Duration::from_secs(self.now)
    }

    /// Reads the zone, and asks the host that the name leads to. One that does not answer yet only wants to know how many hosts
    /// its fleet has at rest.
    fn read(&mut self, number: u32) -> Seconds {
        let ready = self.hosts[&number].is_ready(self.now) || self.flaw == Flaw::NameFirst;
        if self.hosts[&number].cut_off || self.now < self.zone.down {
            return if ready { self.dice.u64(5..20) } else { 2 };
        }
        if !ready {
            let claim = self.zone.claimed.as_ref().map(|claim| self.as_read(claim));
            self.look_for_the_number_at_rest(number, claim.as_ref());
            return 2;
        }
        let at = self.zone.claimed.as_ref().and_then(|claim| match claim.at {
            Some(IpAddr::V4(at)) => self.at_address(at),
            _ => None,
        });
        let answers = at.is_some_and(|other| self.hears(number, other));
        let records = self.zone.records.clone();
        let clock = self.clock();
        let host = self.host(number);
        host.claimant.looks_at(clock);
        host.names.0 = OfNames::Read(records, answers);
        1
    }

    /// Looks at the fleet where the claim does not say how many hosts it has at rest; whether it has fewer than was known.
    fn look_for_the_number_at_rest(&mut self, number: u32, claim: Option<&Claim>) -> bool {
        let target = self.fleet(number).target;
        let host = self.host(number);
        host.claimant.notes_target(&host.facts, claim);
        let lower = host.claimant.needs_target() && host.least.is_none_or(|least| target < least);
        if lower {
            host.least = Some(target);
        }
        lower
    }

    /// What it notes of a look, and what it plans.
    fn decide(&mut self, number: u32, records: &[Records], answers: bool) -> Seconds {
        let seen = claim(&self.zone.names[0], records).ok().flatten().map(|(claim, _)| claim);
        let read = seen.as_ref().map(|claim| self.as_read(claim));
        let lower = self.look_for_the_number_at_rest(number, read.as_ref());
        let (liveness, answers) = self.liveness(number, seen.as_ref(), answers);
        let names = self.zone.names.clone();
        let flaw = self.flaw;
        let seed = self.seed;
        let host = self.host(number);
        let wanted = DesiredRouting {
            host: &host.facts,
            names: &names,
            ttl: u32::try_from(TTL).expect("a minute"),
            adopt: false,
            put_aside: host.claimant.put_aside && flaw != Flaw::TakesBack,
            target: host.claimant.target.or(host.least),
            package: "",
            certified: true,
            asked_in: host.claimant.asked_in,
            claimant: liveness,
        };
        let held = host.claimant.held.is_some();
        let elsewhere = |claim| Routing::Elsewhere(Box::new(RoutedElsewhere { claim, held, answers }));
        match plan(&wanted, records) {
            RoutingPlan::Change(change) => {
                if let Some(claim) = seen.filter(|claim| held && claim.instance != host.facts.instance) {
                    host.leads = Some(elsewhere(claim));
                }
                host.names.0 = OfNames::Sent(change.steps);
                self.say(|| format!("i-{number:04} sends: {}", change.why));
                return self.dice.u64(1..4);
            }
            RoutingPlan::Leads(leads) => host.leads = Some(Routing::Here(leads)),
            RoutingPlan::Wait(need) => panic!("seed {seed}: waits for {need}"),
            RoutingPlan::StandAside(claim) => host.leads = Some(elsewhere(claim)),
            RoutingPlan::Refuse(fault) => panic!("seed {seed}: {fault}"),
        }
        if lower { 1 } else { self.look() }
    }

    /// How the claimant stands, and whether it answers.
    fn liveness(&mut self, number: u32, seen: Option<&Claim>, answers: bool) -> (Liveness, bool) {
        let told = seen.map_or(InstanceState::Unknown, |claim| self.told_of(number, claim));
        let flaw = self.flaw;
        let host = self.host(number);
        let Some(claim) = seen else { return (Liveness::Lives, false) };
        if !host.claimant.read(&host.facts, claim, true) {
            return (Liveness::Lives, claim.instance == host.facts.instance);
        }
        let liveness = match flaw {
            // One of this place is never in doubt.
            Flaw::NeverDoubts => {
                let near = Claim { location: host.facts.location(), ..claim.clone() };
                host.claimant.asked(&host.facts, &near, answers, told)
            }
            _ => host.claimant.asked(&host.facts, claim, answers, told),
        };
        match (flaw, told) {
            (Flaw::UnknownIsGone, InstanceState::Unknown) => (Liveness::Gone, answers),
            _ => (liveness, answers),
        }
    }

    /// What EC2 tells a host of the claimant. It knows nothing of those elsewhere, and now and then forgets one that it knew.
    fn told_of(&mut self, number: u32, claim: &Claim) -> InstanceState {
        let here = self.hosts[&number].facts.location();
        let other = number_of(&claim.instance).filter(|other| *other != number);
        let forgets = self.dice.u8(..4) == 0;
        match other.filter(|_| could_know(here.as_ref(), claim) && !forgets) {
            Some(other) if self.hosts[&other].lives() => InstanceState::Runs,
            Some(_) => InstanceState::Ended,
            None => InstanceState::Unknown,
        }
    }

    /// The batch arrives at Route 53, which carries it out or not.
    fn arrive(&mut self, number: u32, batch: &[Batch]) -> Result<Seconds, Broken> {
        if self.hosts[&number].cut_off || self.now < self.zone.down {
            return Ok(self.dice.u64(5..20));
        }
        let before = self.zone.claimed.clone();
        if !self.zone.carry_out(batch, self.flaw, self.now) {
            self.say(|| format!("i-{number:04} is refused: the claim is another by now"));
            return Ok(self.dice.u64(1..10));
        }
        self.host(number).writes += 1;
        let claimed = self.zone.claimed.as_ref().map(Claim::value).unwrap_or_default();
        self.say(|| format!("i-{number:04} is carried out: {claimed}"));
        self.check_right(number, before.as_ref())?;
        // Lost or not, the answer changes nothing: the next look finds what there is.
        let lost = self.loses_answers || self.kind == Kind::Faults && self.dice.u8(..5) == 0;
        Ok(if lost { 20 } else { 1 })
    }

    /// From one look to the next.
    pub(super) fn look(&mut self) -> Seconds {
        self.dice.u64(LOOK * 4 / 5..LOOK * 6 / 5)
    }
}
