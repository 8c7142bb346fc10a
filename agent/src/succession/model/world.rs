//! The world of one history: its hosts, and the order in which their keepers take steps.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    super::Names,
    Broken, CALM, END, Flaw, Kind, NOTICE, STUBBORN, Seconds, TTL,
    fleet::Fleet,
    host::{Host, Life, OfDeparture},
    zone::Zone,
};

/// A visitor and its resolver.
pub(super) struct Visitor {
    pub(super) keeps: Seconds,
    pub(super) answer: Option<(Ipv4Addr, Seconds)>,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) dice: fastrand::Rng,
    pub(super) flaw: Flaw,
    pub(super) kind: Kind,
    pub(super) now: Seconds,
    pub(super) zone: Zone,
    pub(super) fleet: Fleet,
    pub(super) hosts: BTreeMap<u32, Host>,
    next_id: u32,
    pub(super) visitors: Vec<Visitor>,
    /// Whether a rebalance recommendation asks for a successor.
    pub(super) rebalances: bool,
    /// Whether the answer to every batch is lost.
    pub(super) loses_answers: bool,
    /// The host that is to take this step dies before it, that is after the step before.
    pub(super) kill_at: Option<u64>,
    /// How many steps were taken.
    pub(super) steps: u64,
    /// Since when the name has led to nobody although somebody could have taken it.
    pub(super) dark: Option<Seconds>,
    pub(super) once_up: bool,
    pub(super) calm: bool,
    story: Vec<String>,
    /// Whether what happens is told: only of a history that broke a rule.
    tells: bool,
}

impl World {
    pub(super) fn new(seed: u64, flaw: Flaw, kind: Kind, tells: bool) -> World {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (is_group, rebalances) = (dice.u8(..3) == 0, dice.bool());
        let visitors = [TTL, TTL, STUBBORN, STUBBORN].map(|keeps| Visitor { keeps, answer: None });
        let mut world = World {
            seed,
            dice,
            flaw,
            kind,
            now: 0,
            zone: Zone::new(),
            fleet: Fleet::new(is_group),
            hosts: BTreeMap::new(),
            next_id: 1,
            visitors: visitors.into(),
            rebalances,
            loses_answers: false,
            kill_at: None,
            steps: 0,
            dark: None,
            once_up: false,
            calm: false,
            story: Vec::new(),
            tells,
        };
        if kind == Kind::Releases {
            world.fleet.slowest = 12;
        }
        world.launch();
        world
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            self.story.push(format!("{:>6} {}", self.now, what()));
        }
    }

    /// The end of the story so far.
    pub(super) fn told(&self) -> String {
        self.story[self.story.len().saturating_sub(60)..].join("\n")
    }

    /// Launches a host; its number.
    pub(super) fn launch(&mut self) -> u32 {
        let number = self.next_id;
        self.next_id += 1;
        let faulty = self.kind == Kind::Faults && self.now < CALM;
        let longest = if self.kind == Kind::Releases { 8 } else { 120 };
        let ready_at = self.now + self.dice.u64(1..longest);
        let mut host = Host::new(number, self.now, Some(ready_at));
        match if faulty { self.dice.u8(..24) } else { u8::MAX } {
            0 => (host.ready_at, host.mute) = (None, true),
            1 | 2 => host.ready_at = None,
            3 | 4 => (host.ahead, host.knows) = (self.dice.i64(-900..900), self.dice.bool()),
            _ => {}
        }
        self.say(|| format!("i-{number:04} is launched, ready at {:?}, mute: {}", host.ready_at, host.mute));
        self.hosts.insert(number, host);
        number
    }

    pub(super) fn host(&mut self, number: u32) -> &mut Host {
        self.hosts.get_mut(&number).expect("it was launched")
    }

    /// Ends a host.
    pub(super) fn kill(&mut self, number: u32) {
        let now = self.now;
        let host = self.host(number);
        (host.life, host.died) = (Life::Dead, Some(now));
    }

    pub(super) fn answers(&self, number: u32) -> bool {
        self.hosts[&number].answers(self.now)
    }

    pub(super) fn at_address(&self, address: Ipv4Addr) -> Option<u32> {
        self.hosts.iter().rev().find(|(_, host)| host.facts.ipv4 == Some(address)).map(|(number, _)| *number)
    }

    /// The host that the name leads to.
    pub(super) fn led_to(&self) -> Option<u32> {
        self.zone.led_to().and_then(|address| self.at_address(address))
    }

    pub(super) fn living(&self) -> impl Iterator<Item = u32> {
        self.hosts.iter().filter(|(_, host)| host.lives()).map(|(number, _)| *number)
    }

    pub(super) fn members(&self) -> u32 {
        u32::try_from(self.living().count()).expect("few")
    }

    /// Sets the target without ending anybody, as a call asks; a fleet that is being modified refuses. A group ends hosts of
    /// its own choice where it has more.
    pub(super) fn set_target(&mut self, to: u32, why: &str) -> bool {
        if self.now < self.fleet.settles {
            return false;
        }
        let why = why.to_owned();
        self.say(|| format!("the target is {to}: {why}"));
        self.fleet.target = to;
        if self.fleet.is_group {
            self.shed();
        } else {
            self.fleet.settles = self.now + self.dice.u64(1..30);
        }
        true
    }

    /// The fleet ends what it has too many of, by its own strategy.
    pub(super) fn shed(&mut self) {
        while self.members() > self.fleet.target {
            let living: Vec<_> = self.living().collect();
            let Some(number) = self.dice.choice(&living).copied() else { return };
            self.say(|| format!("the fleet ends i-{number:04}"));
            self.kill(number);
        }
    }

    /// EC2 tells a host that it is taken.
    pub(super) fn announce(&mut self, number: u32) {
        let (now, seen) = (self.now, self.dice.u64(1..6));
        self.say(|| format!("i-{number:04} is told that it is taken"));
        let host = self.host(number);
        host.taken = Some(now + NOTICE);
        host.departure = (OfDeparture::Rest, now + seen);
    }

    /// EC2 takes a notice back.
    pub(super) fn withdraw(&mut self, number: u32) {
        let now = self.now;
        self.say(|| format!("i-{number:04} may stay after all"));
        let host = self.host(number);
        (host.taken, host.departs, host.departure.0) = (None, None, OfDeparture::Rest);
        (host.names.1, host.place.1) = (now + 1, now + 1);
    }

    /// One step of one host.
    fn step(&mut self, number: u32) -> Result<(), Broken> {
        self.steps += 1;
        if self.kill_at == Some(self.steps) {
            self.say(|| format!("i-{number:04} is killed before its next step"));
            self.kill(number);
            return Ok(());
        }
        let (now, slow, host) = (self.now, self.hosts[&number].slow, &self.hosts[&number]);
        if host.taken.is_some() && host.departure.1 <= now {
            let pause = self.step_of_departure(number)?;
            self.host(number).departure.1 = now + pause + slow;
        } else if host.departs.is_none() && host.names.1 <= now {
            let pause = self.step_of_names(number)?;
            self.host(number).names.1 = now + pause + slow;
        } else {
            let pause = self.step_of_place(number)?;
            self.host(number).place.1 = now + pause + slow;
        }
        Ok(())
    }

    /// Lets the history run until then.
    pub(super) fn run_until(&mut self, end: Seconds) -> Result<(), Broken> {
        let mut next_event = self.now + self.dice.u64(300..900);
        let mut next_visit = self.now;
        while self.now < end {
            self.now = self.next_moment(next_event, next_visit).min(end);
            self.take_those_who_were_told();
            self.note_who_is_unwell();
            if self.now >= CALM && !self.calm {
                self.calm_down();
            }
            if self.now >= next_event && self.now < CALM {
                self.happen();
                let pause = if self.kind == Kind::Faults { 1..500 } else { 300..2400 };
                next_event = self.now + self.dice.u64(pause);
            }
            self.refill();
            let now = self.now;
            let due = |host: &Host| host.life == Life::Running && !host.mute && host.next() <= now;
            let due: Vec<u32> = self.hosts.iter().filter(|(_, host)| due(host)).map(|(number, _)| *number).collect();
            for number in due {
                self.step(number)?;
                self.check()?;
            }
            if self.calm {
                self.end_those_who_never_spoke();
            }
            // Of those who have just left, too: nobody else may be there for whom a next moment would come.
            self.refill();
            self.check()?;
            if self.kind == Kind::Releases && self.now >= next_visit {
                self.visit()?;
                next_visit = self.now + 20;
            }
        }
        Ok(())
    }

    /// The next second in which anything happens.
    fn next_moment(&self, next_event: Seconds, next_visit: Seconds) -> Seconds {
        let running = self.hosts.values().filter(|host| host.life == Life::Running && !host.mute);
        let taken = self.hosts.values().filter(|host| host.lives()).filter_map(|host| host.taken);
        let steps = running.map(Host::next).chain(self.fleet.launches.iter().copied()).chain(taken);
        let next = steps.min().unwrap_or(END);
        let next = if self.calm { next } else { next.min(CALM).min(next_event) };
        let next = if self.kind == Kind::Releases { next.min(next_visit) } else { next };
        next.max(self.now + 1)
    }

    fn take_those_who_were_told(&mut self) {
        let now = self.now;
        let taken = |host: &Host| host.lives() && host.taken.is_some_and(|taken| taken <= now);
        let taken: Vec<u32> = self.hosts.iter().filter(|(_, host)| taken(host)).map(|(number, _)| *number).collect();
        for number in taken {
            self.say(|| format!("i-{number:04} is taken"));
            self.kill(number);
        }
    }

    fn note_who_is_unwell(&mut self) {
        let now = self.now;
        for host in self.hosts.values_mut().filter(|host| !host.answers(now)) {
            host.unwell = now;
        }
    }

    /// The fleet starts what is missing.
    fn refill(&mut self) {
        let now = self.now;
        let due = self.fleet.launches.iter().filter(|at| **at <= now).count();
        self.fleet.launches.retain(|at| *at > now);
        for _ in 0..due {
            if self.members() < self.fleet.target {
                self.launch();
            }
        }
        let coming = u32::try_from(self.fleet.launches.len()).expect("few");
        for _ in self.members() + coming..self.fleet.target {
            let at = now + self.dice.u64(5..self.fleet.slowest);
            self.fleet.launches.push(at);
        }
    }

    /// A fleet whose only host runs no agent has nobody who could see it: that a person mends.
    fn end_those_who_never_spoke(&mut self) {
        if self.members() <= self.fleet.target && self.living().all(|number| self.hosts[&number].mute) {
            let mute: Vec<u32> = self.living().collect();
            for number in mute {
                self.say(|| format!("somebody ends i-{number:04}, which never spoke"));
                self.kill(number);
            }
        }
    }

    /// From here on nothing is broken; what cannot mend itself a person mends.
    fn calm_down(&mut self) {
        self.zone.down = 0;
        self.calm = true;
        self.say(|| "nothing is broken any more".to_owned());
        let (now, alone) = (self.now, self.members() <= self.fleet.target);
        for host in self.hosts.values_mut().filter(|host| host.lives()) {
            (host.cut_off, host.slow, host.knows) = (false, 0, true);
            host.life = if host.mute && alone { Life::Dead } else { Life::Running };
            host.ready_at = host.ready_at.or((!host.mute).then_some(now + 60));
            if host.leads == Names::Unknown {
                host.born = now;
            }
        }
    }
}
