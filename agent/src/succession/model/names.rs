//! The address keeper: reads the zone, decides, sends.

use std::{mem, net::IpAddr, time::Duration};

use super::{
    super::Names, Broken, Flaw, Kind, LOOK, SILENCE, Seconds, TTL, host::OfNames, world::World,
    zone::number as number_of,
};
use crate::{
    aws::{
        Told,
        zone::{Records, Step as Batch},
    },
    claim::{Claim, Silence, Standing, could_know, records::claim, standing},
    routing::{
        plan::{Plan, Wanted},
        records::plan::plan,
    },
};

/// As the keeper has it.
const STALE: Seconds = 60;

impl World {
    /// One step of it; after how long the next one comes.
    pub(super) fn step_of_names(&mut self, number: u32) -> Result<Seconds, Broken> {
        match mem::replace(&mut self.host(number).names.0, OfNames::Rest) {
            OfNames::Rest => Ok(self.read(number)),
            OfNames::Read(records, answers, at) => Ok(self.decide(number, &records, (answers, at))),
            OfNames::Sent(_, seen) if self.is_stale(number, seen) => Ok(1),
            OfNames::Sent(batch, _) => self.arrive(number, &batch),
        }
    }

    /// Reads the zone, and asks whoever the name leads to.
    fn read(&mut self, number: u32) -> Seconds {
        if !self.hosts[&number].is_ready(self.now) && self.flaw != Flaw::NameFirst {
            return 2;
        }
        if self.hosts[&number].cut_off || self.now < self.zone.down {
            return self.dice.u64(5..20);
        }
        let at = self.zone.claimed.as_ref().and_then(|claim| match claim.at {
            Some(IpAddr::V4(at)) => self.at_address(at),
            _ => None,
        });
        let answers = at.is_some_and(|other| self.hears(number, other));
        let (records, now) = (self.zone.records.clone(), self.now);
        self.host(number).names.0 = OfNames::Read(records, answers, now);
        1
    }

    /// What it notes of a look, and what it plans.
    fn decide(&mut self, number: u32, records: &[Records], (answers, at): (bool, Seconds)) -> Seconds {
        let seen = claim(&self.zone.names[0], records).ok().flatten().map(|(claim, _)| claim);
        let standing = self.standing(number, seen.as_ref(), (answers, at));
        let (now, names, flaw, seed) = (self.now, self.zone.names.clone(), self.flaw, self.seed);
        let host = self.host(number);
        let wanted = Wanted {
            host: &host.facts,
            names: &names,
            ttl: u32::try_from(TTL).expect("a minute"),
            adopt: false,
            put_aside: host.put_aside && flaw != Flaw::TakesBack,
            target: host.target,
            package: "",
            certified: true,
            asked_in: host.asked_in,
            claimant: standing,
        };
        let planned = plan(&wanted, records);
        let since = |aside: Seconds| Duration::from_secs(now - aside);
        match planned {
            Plan::Change(change) => {
                if host.held && seen.as_ref().is_some_and(|claim| claim.instance != host.facts.instance) {
                    let aside = *host.aside.get_or_insert(now);
                    (host.leads, host.believes) =
                        (Names::Elsewhere { since: since(aside), held: true, answers }, false);
                    host.claim = seen;
                }
                host.names.0 = OfNames::Sent(change.steps, at);
                self.say(|| format!("i-{number:04} sends: {}", change.why));
                return self.dice.u64(1..4);
            }
            Plan::Leads(_) => (host.leads, host.aside, host.believes) = (Names::Here, None, true),
            Plan::StandAside(_) => {
                let aside = *host.aside.get_or_insert(now);
                (host.leads, host.believes) =
                    (Names::Elsewhere { since: since(aside), held: host.held, answers }, false);
            }
            Plan::Wait(need) => panic!("seed {seed}: waits for {need}"),
            Plan::Refuse(fault) => panic!("seed {seed}: {fault}"),
        }
        host.claim = seen;
        self.look()
    }

    /// How the claimant stands, as the keeper finds out.
    fn standing(&mut self, number: u32, seen: Option<&Claim>, (answers, at): (bool, Seconds)) -> Standing {
        let told = seen.map_or(Told::Unknown, |claim| self.told_of(number, claim));
        let flaw = self.flaw;
        let host = self.host(number);
        let Some(claim) = seen else { return Standing::Lives };
        if claim.instance == host.facts.instance {
            (host.held, host.put_aside, host.silence) = (true, false, Silence::default());
            return Standing::Lives;
        }
        let here = host.facts.location();
        host.put_aside |= host.held;
        host.asked_in = claim.asked_in(here.as_ref()).or(host.asked_in);
        host.silence.asked(&claim.instance, claim.epoch, answers, Duration::from_secs(at));
        let elsewhere = !claim.may_be_in(here.as_ref()) && flaw != Flaw::NeverDoubts;
        let limit = host.silence.limit(&claim.instance, Duration::from_secs(SILENCE), elsewhere);
        match (flaw, told) {
            (Flaw::UnknownIsGone, Told::Unknown) => Standing::Gone,
            _ => standing(answers, told, host.silence.is_long(limit)),
        }
    }

    /// What EC2 tells a host of the claimant. It knows nothing of those elsewhere, and now and then forgets one that it knew.
    fn told_of(&mut self, number: u32, claim: &Claim) -> Told {
        let here = self.hosts[&number].facts.location();
        let other = number_of(&claim.instance).filter(|other| *other != number);
        let forgets = self.dice.u8(..4) == 0;
        match other.filter(|_| could_know(here.as_ref(), claim) && !forgets) {
            Some(other) if self.hosts[&other].lives() => Told::Runs,
            Some(_) => Told::Ended,
            None => Told::Unknown,
        }
    }

    /// Whether what it saw then is too old to act upon: it was stopped meanwhile, and looks again.
    fn is_stale(&self, number: u32, seen: Seconds) -> bool {
        self.now > seen + STALE + 2 * self.hosts[&number].slowest
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
