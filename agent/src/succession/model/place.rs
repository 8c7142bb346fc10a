//! The succession keeper: looks at the fleet, decides, and carries its steps out call by call.

use std::{mem, time::Duration};

use super::{
    super::{Decision, FRESH, Inputs, Names, Step, decide},
    Broken, Flaw, GIVE_UP, LINGER, Seconds, TTL,
    host::OfPlace,
    world::World,
};
use crate::{config::Succession, status::Role};

impl World {
    /// One step of it; after how long the next one comes.
    pub(super) fn step_of_place(&mut self, number: u32) -> Result<Seconds, Broken> {
        let at = mem::replace(&mut self.host(number).place.0, OfPlace::Rest);
        let rests = matches!(at, OfPlace::Rest | OfPlace::Looked(_));
        if self.hosts[&number].cut_off && !rests {
            return Ok(self.dice.u64(5..20));
        }
        match at {
            OfPlace::Rest => Ok(self.look_at_fleet(number)),
            OfPlace::Looked(inputs) => Ok(self.judge(number, &inputs)),
            OfPlace::Asks(step) => Ok(self.ask(number, step)),
            OfPlace::Sets(step) => Ok(self.set(number, step)),
            OfPlace::Waits(step) => Ok(self.wait(number, step)),
            OfPlace::Spares(since) => Ok(self.spare(number, since)),
            OfPlace::Probes => Ok(self.probe(number)),
            OfPlace::Ends(replaced, since) => self.end(number, replaced, since),
            OfPlace::Dismisses => self.dismiss(number),
        }
    }

    fn decide(&self, inputs: &Inputs) -> Decision {
        let at_once = self.flaw == Flaw::LeavesAtOnce;
        let (linger, ttl) = if at_once { (1, 0) } else { (LINGER, TTL) };
        let policy = Succession {
            linger: Duration::from_secs(linger),
            give_up: Duration::from_secs(GIVE_UP),
            rebalance: self.rebalances,
            ..Succession::default()
        };
        decide(&policy, Duration::from_secs(ttl), inputs)
    }

    /// In which epoch a host asked for a successor, and how many hosts the fleet has at rest, as this host knows.
    pub(super) fn claimed(&self, number: u32) -> (Option<u64>, Option<u32>) {
        let host = &self.hosts[&number];
        let claim = host.claim.as_ref();
        let here = host.facts.location();
        let target = claim.and_then(|claim| match self.flaw {
            Flaw::TakesAnothersTarget => claim.target,
            _ => claim.target_in(here.as_ref()),
        });
        match host.leads {
            Names::Here => (host.asked_in, target),
            _ => (claim.and_then(|claim| claim.asked_in(here.as_ref())), target),
        }
    }

    fn look_at_fleet(&mut self, number: u32) -> Seconds {
        let (now, down, members) = (self.now, self.zone.down, self.members_with(number));
        let ready = self.hosts[&number].is_ready(now);
        let inputs = Inputs {
            running: self.hosts[&number].running(now),
            answered: ready,
            names: self.hosts[&number].leads,
            fleet: None,
            owes: false,
            recommended: self.hosts[&number].recommended,
            overdue: self.overdue(number).is_some(),
        };
        let first = self.decide(&inputs);
        let claim = self.zone.claimed.clone();
        let host = self.host(number);
        (host.role, host.traffic) = (first.role, first.traffic);
        if host.cut_off || (!ready && now < down) {
            return self.dice.u64(5..20);
        }
        if !ready {
            host.claim = claim;
        }
        let (asked_in, floor) = self.claimed(number);
        let host = self.host(number);
        host.target = floor.or(host.target);
        let owes = asked_in.is_some() && asked_in > host.given_back;
        let fleet = self.fleet(number).seen(members, floor, now);
        if floor.is_none() && matches!(first.role, Role::Booting | Role::Owner) {
            let host = self.host(number);
            let least = host.least.map_or(fleet.target, |least| least.min(fleet.target));
            host.least = Some(least);
            host.target = Some(least);
        }
        if first.role == Role::Owner {
            self.look_at_newcomers(number, floor.is_some_and(|floor| members > floor));
        }
        let overdue = self.overdue(number).is_some();
        self.host(number).place.0 = OfPlace::Looked(Inputs { fleet: Some(fleet), owes, overdue, ..inputs });
        1
    }

    fn judge(&mut self, number: u32, inputs: &Inputs) -> Seconds {
        let decision = self.decide(inputs);
        let below = self.flaw == Flaw::LeavesBelowTarget && decision.role == Role::Superseded;
        let next = match decision.step {
            _ if below => OfPlace::Ends(false, self.now),
            Some(Step::GiveBack { .. } | Step::Dismiss { .. }) if self.flaw == Flaw::KeepsPlaces => OfPlace::Rest,
            Some(step @ Step::GiveBack { .. }) => OfPlace::Sets(step),
            Some(step) => OfPlace::Asks(step),
            None => OfPlace::Rest,
        };
        let rests = matches!(next, OfPlace::Rest);
        self.host(number).place.0 = next;
        if rests { self.look() } else { self.dice.u64(1..4) }
    }

    fn ask(&mut self, number: u32, step: Step) -> Seconds {
        let now = self.now;
        let holder_lives = self.fleet(number).turn.is_some_and(|(holder, _)| self.hosts[&holder].lives());
        let may = match step {
            Step::AskEarly { .. } => {
                let guarded = self.flaw != Flaw::NoGuard;
                self.fleet_mut(number).take_the_hours_turn(guarded, now)
            }
            Step::BeReplaced => self.fleet_mut(number).spend_a_replacement(2, now),
            _ => self.fleet_mut(number).take_turn(number, holder_lives, now),
        };
        if !may {
            return self.dice.u64(15..60);
        }
        self.host(number).place.0 = match step {
            Step::Leave => OfPlace::Probes,
            Step::BeReplaced => OfPlace::Ends(true, now),
            Step::Dismiss { to: None } => OfPlace::Dismisses,
            step => OfPlace::Sets(step),
        };
        self.dice.u64(1..4)
    }

    fn set(&mut self, number: u32, step: Step) -> Seconds {
        let to = match step {
            Step::Lower { to } | Step::GiveBack { to } | Step::AskEarly { to } | Step::Dismiss { to: Some(to) } => to,
            Step::Leave | Step::BeReplaced | Step::Dismiss { to: None } => return 1,
        };
        if !self.set_target(number, to, &step.to_string()) {
            return self.dice.u64(1..8);
        }
        match step {
            Step::GiveBack { .. } => {
                let asked_in = self.claimed(number).0;
                self.host(number).given_back = asked_in;
            }
            Step::Lower { .. } | Step::Dismiss { .. } => self.host(number).place.0 = OfPlace::Waits(step),
            _ => {}
        }
        self.dice.u64(1..4)
    }

    fn wait(&mut self, number: u32, step: Step) -> Seconds {
        if self.now < self.fleet(number).settles {
            self.host(number).place.0 = OfPlace::Waits(step);
            return 2;
        }
        if self.members_with(number) > self.fleet(number).target {
            let leaves = matches!(step, Step::Lower { .. });
            self.host(number).place.0 = if leaves { OfPlace::Probes } else { OfPlace::Dismisses };
        }
        1
    }

    fn spare(&mut self, number: u32, since: Seconds) -> Seconds {
        let spared = self.spares_one(number);
        let here = self.hosts[&number].leads == Names::Here;
        if (here || !spared) && self.flaw != Flaw::LeavesAtOnce {
            self.say(|| format!("i-{number:04} stays after all"));
            return self.look();
        }
        self.host(number).place.0 = OfPlace::Ends(false, since);
        1
    }

    /// Whether the fleet can do with one host less, as this host sees it.
    fn spares_one(&self, number: u32) -> bool {
        let here = self.hosts[&number].facts.location();
        let read = self.zone.claimed.as_ref().filter(|_| self.now >= self.zone.down);
        let claimed = read.and_then(|claim| match self.flaw {
            Flaw::TakesAnothersTarget => claim.target,
            _ => claim.target_in(here.as_ref()),
        });
        self.fleet(number).seen(self.members_with(number), claimed.or(self.claimed(number).1), self.now).spares_one()
    }

    fn probe(&mut self, number: u32) -> Seconds {
        let host = &self.hosts[&number];
        let failed = host.role == Role::Failed && host.claim.is_none();
        // Read anew, where Route 53 is there.
        let claim = self.zone.claimed.as_ref().filter(|claim| self.now >= self.zone.down && !claim.departing);
        let owner = claim.and_then(|claim| super::zone::number(&claim.instance));
        let answers = owner.is_some_and(|owner| owner != number && self.hears(number, owner));
        if !answers && !failed && self.flaw != Flaw::LeavesAtOnce {
            self.say(|| format!("i-{number:04} stays after all: the owner does not answer, or goes"));
            return self.look();
        }
        self.host(number).place.0 = OfPlace::Spares(self.now);
        1
    }

    fn end(&mut self, number: u32, replaced: bool, since: Seconds) -> Result<Seconds, Broken> {
        if !replaced && self.now > since + FRESH.as_secs() {
            self.say(|| format!("i-{number:04} stays after all: it took too long to make sure"));
            return Ok(self.look());
        }
        if self.hosts[&number].leads == Names::Here && self.flaw != Flaw::LeavesAtOnce {
            return Ok(self.look());
        }
        if !replaced && !self.fleet_mut(number).gives_back_a_place() {
            self.say(|| format!("i-{number:04} stays after all: the group's MinSize"));
            return Ok(self.look());
        }
        self.check_leaving(number, replaced)?;
        self.say(|| format!("i-{number:04} leaves"));
        self.kill(number);
        Ok(1)
    }

    /// The others, every five minutes, where there are too many.
    fn look_at_newcomers(&mut self, number: u32, too_many: bool) {
        let now = self.now;
        let due = self.hosts[&number].newcomers.1.is_none_or(|at| now >= at + GIVE_UP / 10);
        if !due {
            return;
        }
        let others: Vec<_> = match too_many {
            true => self.living_in(self.hosts[&number].region).filter(|other| *other != number).collect(),
            false => Vec::new(),
        };
        let seen: Vec<_> = others.iter().map(|other| (format!("i-{other:04}"), self.answers(*other))).collect();
        let host = self.host(number);
        host.newcomers.0.seen(seen, host.running(now));
        host.newcomers.1 = Some(now);
    }

    fn overdue(&self, number: u32) -> Option<u32> {
        let host = &self.hosts[&number];
        let limit = Duration::from_secs(GIVE_UP * 2);
        super::zone::number(host.newcomers.0.overdue(limit, host.running(self.now))?)
    }

    fn dismiss(&mut self, number: u32) -> Result<Seconds, Broken> {
        let Some(other) = self.overdue(number) else { return Ok(1) };
        // The claim is read anew, where Route 53 is there.
        if self.now < self.zone.down || self.zone.owner() != Some(number) {
            return Ok(self.look());
        }
        let may = self.hosts[&other].lives() && !self.answers(other) && self.spares_one(number);
        if may && self.fleet_mut(number).gives_back_a_place() {
            self.say(|| format!("i-{number:04} ends i-{other:04}, which has never answered"));
            self.check_leaving(other, false)?;
            self.kill(other);
        }
        self.host(number).newcomers = Default::default();
        Ok(self.look())
    }
}
