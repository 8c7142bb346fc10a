//! The world of one history: its hosts, and the order in which their keepers take steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use tokio::time::Instant;

use super::{
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
    /// When the history began, by the clock of the machine that draws it.
    pub(super) begun: Instant,
    pub(super) zone: Zone,
    /// One in each region; only one has hosts where there is but one region.
    pub(super) fleets: [Fleet; 2],
    /// Until then hosts of the two regions do not hear each other.
    pub(super) split: Seconds,
    /// When that began.
    pub(super) split_since: Seconds,
    /// How often the names have changed hands since it began, without a cause that a visitor could see.
    pub(super) causeless: u32,
    /// Hosts that did so although they have begun amid it, and when they had.
    pub(super) newcomers: BTreeSet<(u32, Seconds)>,
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
    /// Hosts that could take over while the name leads to no host, each with the time since when it could.
    pub(super) dark: BTreeMap<u32, Seconds>,
    pub(super) once_up: bool,
    pub(super) calm: bool,
    story: Vec<String>,
    /// Whether what happens is told: only of a history that broke a rule.
    tells: bool,
}

impl World {
    pub(super) fn new(seed: u64, flaw: Flaw, kind: Kind, tells: bool) -> World {
        let mut dice = fastrand::Rng::with_seed(seed);
        let is_group = dice.u8(..3) == 0;
        let rebalances = dice.bool();
        // The fleet of the other region has another number of hosts at rest, so that one is not taken for the other.
        let dice_of_other = dice.bool();
        let other = if kind == Kind::Regions { 2 } else { 0 };
        let visitors = [TTL, TTL, STUBBORN, STUBBORN].map(|keeps| Visitor { keeps, answer: None });
        let mut world = World {
            seed,
            dice,
            flaw,
            kind,
            now: 0,
            begun: Instant::now(),
            zone: Zone::new(),
            fleets: [Fleet::new(is_group, 1), Fleet::new(dice_of_other, other)],
            split: 0,
            split_since: 0,
            causeless: 0,
            newcomers: BTreeSet::new(),
            hosts: BTreeMap::new(),
            next_id: 1,
            visitors: visitors.into(),
            rebalances,
            loses_answers: false,
            kill_at: None,
            steps: 0,
            dark: BTreeMap::new(),
            once_up: false,
            calm: false,
            story: Vec::new(),
            tells,
        };
        if kind == Kind::Releases {
            world.fleets[0].slowest = 12;
        }
        world.launch(0);
        world
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            self.story.push(format!("{:>6} {}", self.now, what()));
        }
    }

    /// The end of the story so far.
    pub(super) fn told(&self) -> String {
        let most = std::env::var("SPOTHOST_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(60);
        self.story[self.story.len().saturating_sub(most)..].join("\n")
    }

    /// Launches a host in that region; its number.
    pub(super) fn launch(&mut self, region: usize) -> u32 {
        let number = self.next_id;
        self.next_id += 1;
        let faulty = matches!(self.kind, Kind::Faults | Kind::Regions) && self.now < CALM;
        let longest = if self.kind == Kind::Releases { 8 } else { 120 };
        let ready_at = self.now + self.dice.u64(1..longest);
        let mut host = Host::new(number, self.now, self.clock(), self.rules(), Some(ready_at)).of(region);
        match if faulty { self.dice.u8(..24) } else { u8::MAX } {
            0 => (host.ready_at, host.mute) = (None, true),
            1 | 2 => host.ready_at = None,
            3 | 4 => (host.ahead, host.knows) = (self.dice.i64(-900..900), self.dice.bool()),
            _ => {}
        }
        self.say(|| {
            format!("i-{number:04} is launched in region {region}, ready at {:?}, mute: {}", host.ready_at, host.mute)
        });
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

    pub(super) fn living_in(&self, region: usize) -> impl Iterator<Item = u32> {
        self.living().filter(move |number| self.hosts[number].region == region)
    }

    pub(super) fn members(&self, region: usize) -> u32 {
        u32::try_from(self.living_in(region).count()).expect("few")
    }

    /// The fleet of that host.
    pub(super) fn fleet(&self, number: u32) -> &Fleet {
        &self.fleets[self.hosts[&number].region]
    }

    pub(super) fn fleet_mut(&mut self, number: u32) -> &mut Fleet {
        &mut self.fleets[self.hosts[&number].region]
    }

    /// How many hosts that fleet has.
    pub(super) fn members_with(&self, number: u32) -> u32 {
        self.members(self.hosts[&number].region)
    }

    /// Whether a host hears another: it answers, and nothing lies between them.
    pub(super) fn hears(&self, number: u32, other: u32) -> bool {
        let apart = self.now < self.split && self.hosts[&number].region != self.hosts[&other].region;
        self.answers(other) && !apart
    }

    /// Sets the target of that host's fleet without ending anybody, as a call asks; a fleet that is being modified refuses. A group ends hosts of
    /// its own choice where it has more.
    pub(super) fn set_target(&mut self, number: u32, to: u32) -> bool {
        let region = self.hosts[&number].region;
        if self.now < self.fleets[region].settles {
            return false;
        }
        self.say(|| format!("i-{number:04} sets the target of region {region} to {to}"));
        self.fleets[region].target = to;
        if self.fleets[region].is_group {
            self.shed(region);
        } else {
            self.fleets[region].settles = self.now + self.dice.u64(1..30);
        }
        true
    }

    /// The fleet ends what it has too many of, by its own strategy.
    pub(super) fn shed(&mut self, region: usize) {
        while self.members(region) > self.fleets[region].target {
            let living: Vec<_> = self.living_in(region).collect();
            let Some(number) = self.dice.choice(&living).copied() else { return };
            self.say(|| format!("the fleet ends i-{number:04}"));
            self.kill(number);
        }
    }

    /// EC2 tells a host that it is taken.
    pub(super) fn announce(&mut self, number: u32) {
        let now = self.now;
        let seen = self.dice.u64(1..6);
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
        let now = self.now;
        let slow = self.hosts[&number].slow;
        let host = &self.hosts[&number];
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
                let pause = if matches!(self.kind, Kind::Faults | Kind::Regions) { 1..500 } else { 300..2400 };
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
        let steps = running
            .map(Host::next)
            .chain(self.fleets.iter().flat_map(|fleet| fleet.launches.iter().copied()))
            .chain(taken);
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

    /// The fleets start what is missing.
    fn refill(&mut self) {
        let now = self.now;
        for region in 0..self.fleets.len() {
            let due = self.fleets[region].launches.iter().filter(|at| **at <= now).count();
            self.fleets[region].launches.retain(|at| *at > now);
            for _ in 0..due {
                if self.members(region) < self.fleets[region].target {
                    self.launch(region);
                }
            }
            let coming = u32::try_from(self.fleets[region].launches.len()).expect("few");
            for _ in self.members(region) + coming..self.fleets[region].target {
                let at = now + self.dice.u64(5..self.fleets[region].slowest);
                self.fleets[region].launches.push(at);
            }
        }
    }

    /// A fleet whose only host runs no agent: no host can see that, so a person has to mend it.
    fn end_those_who_never_spoke(&mut self) {
        for region in 0..self.fleets.len() {
            let mute: Vec<u32> = self.living_in(region).collect();
            let nobody_speaks = mute.iter().all(|number| self.hosts[number].mute);
            // The owner would see it, were it of the same fleet.
            let unseen = self.kind == Kind::Regions && !self.is_owned_in(region);
            let mute = mute.into_iter().filter(|number| self.hosts[number].mute).collect::<Vec<_>>();
            if self.members(region) <= self.fleets[region].target && (nobody_speaks || unseen) {
                for number in mute {
                    self.say(|| format!("somebody ends i-{number:04}, which never spoke"));
                    self.kill(number);
                }
            }
        }
    }

    /// Whether the owner is of that region.
    fn is_owned_in(&self, region: usize) -> bool {
        self.zone.owner().is_some_and(|owner| self.hosts[&owner].region == region)
    }

    /// From here on nothing is broken; what cannot mend itself a person mends.
    fn calm_down(&mut self) {
        self.zone.down = 0;
        self.calm = true;
        self.say(|| "nothing is broken any more".to_owned());
        // What was begun upon a split comes to its end a moment after it.
        self.split = self.split.min(self.now);
        let now = self.now;
        let alone = [0, 1].map(|region| self.members(region) <= self.fleets[region].target);
        let is_alone = |host: &Host| host.mute && alone[host.region];
        let mute: Vec<u32> = self.living().filter(|number| is_alone(&self.hosts[number])).collect();
        for number in mute {
            self.say(|| format!("somebody ends i-{number:04}, which never spoke"));
            self.kill(number);
        }
        for host in self.hosts.values_mut().filter(|host| host.lives()) {
            (host.cut_off, host.slow, host.knows) = (false, 0, true);
            host.life = Life::Running;
            host.ready_at = host.ready_at.or((!host.mute).then_some(now + 60));
            if host.leads.is_none() {
                host.memory.begin_anew(now);
            }
        }
    }
}
