//! The succession keeper: the steps that the program takes, request by request, carried out in this world.

use std::{mem, net::IpAddr, time::Duration};

use super::{
    super::{
        FleetAction,
        steps::{Context, Correcting, Looking, Memory, Request, RequestOutcome, Rules, Steps, Watched},
    },
    Broken, Flaw, GIVE_UP, LINGER, Seconds, TTL,
    host::OfPlace,
    world::World,
    zone::number as number_of,
};
use crate::{
    claim::{Claim, RoutedElsewhere, RoutedHere, Routing},
    config::Succession,
    fault::Fault,
    status::Role,
};

impl World {
    /// How hosts follow each other here.
    pub(super) fn rules(&self) -> Rules {
        let at_once = self.flaw == Flaw::LeavesAtOnce;
        let (linger, ttl) = if at_once { (1, 0) } else { (LINGER, TTL) };
        let policy = Succession {
            linger: Duration::from_secs(linger),
            give_up: Duration::from_secs(GIVE_UP),
            rebalance: self.rebalances,
            ..Succession::default()
        };
        Rules { policy, ttl: Duration::from_secs(ttl), of_many: false }
    }

    /// What that host knows at this moment.
    pub(super) fn watched(&self, number: u32) -> Watched {
        let host = &self.hosts[&number];
        let leads = host.leads.as_ref().map(|leads| match leads {
            Routing::Here(here) => Routing::Here(RoutedHere { asked_in: host.claimant.asked_in, ..here.clone() }),
            Routing::Elsewhere(other) => {
                Routing::Elsewhere(Box::new(RoutedElsewhere { claim: self.as_read(&other.claim), ..(**other).clone() }))
            }
        });
        Watched {
            leads,
            answers: host.is_ready(self.now),
            placed: true,
            recommended: host.recommended,
            instance: Some(host.facts.instance.clone()),
            location: host.facts.location(),
            fleetless: false,
            at_rest: None,
        }
    }

    /// The claim as a host reads it.
    pub(super) fn as_read(&self, claim: &Claim) -> Claim {
        match self.flaw {
            Flaw::TakesAnothersTarget => Claim { location: None, ..claim.clone() },
            _ => claim.clone(),
        }
    }

    /// Lets that host go by what it remembers and knows at this moment.
    pub(super) fn with_context<T>(&mut self, number: u32, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let watched = self.watched(number);
        let now = Duration::from_secs(self.now);
        act(&mut Context { memory: &mut self.host(number).memory, watched: &watched, now })
    }

    /// One step of it; after how long the next one comes.
    pub(super) fn step_of_place(&mut self, number: u32) -> Result<Seconds, Broken> {
        let mut at = mem::take(&mut self.host(number).place.0);
        let requested = match &mut at {
            OfPlace::Rest => {
                let looking = self.with_context(number, Looking::new);
                self.host(number).place.0 = OfPlace::Looks(looking);
                return Ok(1);
            }
            OfPlace::Looks(looking) => self.request(number, looking)?,
            OfPlace::Corrects(correcting) => self.request(number, correcting)?,
        };
        match requested {
            Requested::GoesOn(pause) => {
                self.host(number).place.0 = at;
                Ok(pause)
            }
            Requested::Failed(fault) => {
                self.say(|| format!("i-{number:04} looks again: {fault}"));
                Ok(self.look())
            }
            Requested::Over => match at {
                OfPlace::Looks(looking) => self.judge(number, &looking),
                _ => Ok(self.look()),
            },
        }
    }

    /// Makes the request that is next of `steps`, and lets them hear what comes of it.
    fn request(&mut self, number: u32, steps: &mut impl Steps) -> Result<Requested, Broken> {
        let request = match self.with_context(number, |context| steps.next(context)) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(Requested::Over),
            Err(fault) => return Ok(Requested::Failed(fault)),
        };
        let Some(outcome) = self.carry_out(number, request)? else { return Ok(Requested::GoesOn(2)) };
        Ok(match self.with_context(number, |context| steps.came(outcome, context)) {
            Ok(()) => Requested::GoesOn(self.dice.u64(1..4)),
            Err(fault) => Requested::Failed(fault),
        })
    }

    fn judge(&mut self, number: u32, looking: &Looking) -> Result<Seconds, Broken> {
        let decision = self.hosts[&number].memory.decide(false, &looking.inputs);
        if self.flaw == Flaw::LeavesBelowTarget && decision.role == Role::Superseded {
            self.end(number, false)?;
            return Ok(1);
        }
        let step = decision.step.filter(|step| {
            self.flaw != Flaw::KeepsPlaces
                || !matches!(step, FleetAction::GiveBack { .. } | FleetAction::Dismiss { .. })
        });
        let Some(step) = step else { return Ok(self.look()) };
        self.host(number).place.0 = OfPlace::Corrects(Correcting::new(step));
        Ok(self.dice.u64(1..4))
    }

    /// What comes of a request; none where that is still to be waited for.
    pub(super) fn carry_out(&mut self, number: u32, request: Request) -> Result<Option<RequestOutcome>, Broken> {
        let fault = |said: &str| RequestOutcome::Failed(Fault::retry(format!("{request:?}"), said));
        let done_if = |may: bool, said: &str| if may { RequestOutcome::Done } else { fault(said) };
        let now = self.now;
        let region = self.hosts[&number].region;
        if self.hosts[&number].cut_off {
            return Ok(Some(fault("it is cut off")));
        }
        Ok(Some(match &request {
            Request::ReadClaim if now < self.zone.down => fault("Route 53 is down"),
            Request::ReadClaim => RequestOutcome::Claim(self.zone.claimed.as_ref().map(|claim| self.as_read(claim))),
            Request::LookAtFleet => RequestOutcome::Fleet(Some(self.fleet(number).seen(self.members(region), now))),
            Request::ListOthers => {
                let others = self.living_in(region).filter(|other| *other != number);
                let address = |other: u32| self.hosts[&other].facts.ipv4.map(IpAddr::V4);
                RequestOutcome::Others(others.map(|other| (format!("i-{other:04}"), address(other))).collect())
            }
            Request::AskAt(address) => {
                let other = match address {
                    IpAddr::V4(address) => self.at_address(*address),
                    IpAddr::V6(_) => None,
                };
                RequestOutcome::Answers(other.is_some_and(|other| self.hears(number, other)))
            }
            Request::AskClaimant(claim) => {
                RequestOutcome::Answers(number_of(&claim.instance).is_some_and(|other| self.hears(number, other)))
            }
            Request::TakeTurn if self.flaw == Flaw::NoTurn => RequestOutcome::Done,
            Request::TakeTurn => {
                let holder_lives = self.fleet(number).turn.is_some_and(|(holder, _)| self.hosts[&holder].lives());
                done_if(self.fleet_mut(number).take_turn(number, holder_lives, now), "it is another's turn")
            }
            Request::TakeEarlyTurn => {
                let guarded = self.flaw != Flaw::NoGuard;
                let may = self.fleet_mut(number).take_the_hours_turn(guarded, now);
                done_if(may, "one was asked for within the hour")
            }
            Request::SpendReplacement(many) => {
                done_if(self.fleet_mut(number).spend_a_replacement(*many, now), "they are spent")
            }
            Request::SetTarget(to) => done_if(self.set_target(number, *to), "it is being modified"),
            Request::Settle if now < self.fleet(number).settles => return Ok(None),
            Request::Settle => RequestOutcome::Fleet(Some(self.fleet(number).seen(self.members(region), now))),
            Request::Dismiss(instance) => {
                done_if(self.dismiss(number, instance)?, "it is gone, or the group's MinSize")
            }
            Request::End { replaced } => done_if(self.end(number, *replaced)?, "that is the group's MinSize"),
            Request::SayDeparting { asked } => match self.say_departing(number, *asked) {
                Some(said) => done_if(said, "the claim does not say it yet"),
                None => return Ok(None),
            },
            Request::RemoveRecords => RequestOutcome::Done,
            Request::Drain if self.drains(number) => return Ok(None),
            Request::Drain => RequestOutcome::Done,
        }))
    }

    /// Ends another host; whether it was there, and the fleet lets it.
    fn dismiss(&mut self, number: u32, instance: &str) -> Result<bool, Broken> {
        let other = number_of(instance).filter(|other| self.hosts[other].lives());
        let Some(other) = other.filter(|_| self.fleet_mut(number).gives_back_a_place()) else { return Ok(false) };
        self.say(|| format!("i-{number:04} ends i-{other:04}, which has never answered"));
        self.check_leaving(other, false)?;
        self.kill(other);
        Ok(true)
    }

    /// Ends that host; whether the fleet lets it.
    fn end(&mut self, number: u32, replaced: bool) -> Result<bool, Broken> {
        if !replaced && !self.fleet_mut(number).gives_back_a_place() {
            return Ok(false);
        }
        // One that is taken goes whether it is spared or not.
        if self.hosts[&number].departs.is_none() {
            self.check_leaving(number, replaced)?;
        }
        self.say(|| format!("i-{number:04} leaves, replaced: {replaced}"));
        self.kill(number);
        Ok(true)
    }
}

/// What came of the request that was next.
enum Requested {
    /// There is another, after so long.
    GoesOn(Seconds),
    /// That was the last.
    Over,
    /// The procedure cannot go on.
    Failed(Fault),
}

impl Memory {
    /// It begins to wait anew for what it has not found yet.
    pub(super) fn begin_anew(&mut self, now: Seconds) {
        self.begun = Duration::from_secs(now);
    }
}
