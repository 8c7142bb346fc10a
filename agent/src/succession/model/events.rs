//! What people, EC2 and the network do.

use super::{Kind, LONGEST_SPLIT, SILENCE, Seconds, host::Life, world::World};

/// What is added to each step of a slow host: as much as leaves what it saw fresh enough to act upon, just.
const SLOW: Seconds = 25;

impl World {
    /// Something happens.
    pub(super) fn happen(&mut self) {
        let living: Vec<u32> = self.living().collect();
        let Some(number) = self.dice.choice(&living).copied() else { return };
        match self.kind {
            Kind::Quiet => {}
            Kind::Releases if self.dice.bool() => self.release(),
            Kind::Releases => self.notice_in_peace(number),
            Kind::Regions if self.dice.u8(..6) == 0 => self.split(),
            Kind::Faults | Kind::Regions => match self.dice.u8(..16) {
                0 | 1 => self.release(),
                2 => self.die(number),
                3 | 4 => self.stop_or_go_on(number),
                5 | 6 => self.cut_off_or_mend(number),
                7 => {
                    self.zone.down = self.now + self.dice.u64(10..3600);
                    self.say_down();
                }
                8 => self.slow_down_or_up(number),
                9 => {
                    let address = format!("198.51.100.{}", self.dice.u8(1..));
                    self.zone.edit(&address);
                    self.say(|| format!("somebody leads the name to {address}"));
                }
                10 | 11 if self.hosts[&number].taken.is_none() => self.announce(number),
                12 if self.hosts[&number].taken.is_some() => self.withdraw(number),
                13 => {
                    // A storm: everybody is told at once.
                    self.say(|| "EC2 recommends to everybody to move".to_owned());
                    for host in self.hosts.values_mut().filter(|host| host.lives()) {
                        host.recommended = true;
                    }
                }
                14 => {
                    let ahead = self.dice.i64(-900..900);
                    let knows = self.dice.bool();
                    let host = self.host(number);
                    (host.ahead, host.knows) = (ahead, knows);
                    self.say(|| format!("the clock of i-{number:04} is off by {ahead} s, known: {knows}"));
                }
                // Not in the moment in which a host leaves: both would lower the target, and EC2 knows no condition for either.
                15 if self.fleet(number).target > self.fleet(number).rest && !self.has_its_turn(number) => {
                    self.say(|| "somebody lowers the target, and lets the fleet choose".to_owned());
                    self.fleet_mut(number).target -= 1;
                    self.shed(self.hosts[&number].region);
                }
                _ => {}
            },
        }
    }

    /// Whether it is the turn of a host of that one's fleet to leave.
    fn has_its_turn(&self, number: u32) -> bool {
        let turn = self.fleet(number).turn.filter(|(_, until)| self.now < *until);
        turn.is_some_and(|(holder, _)| self.hosts[&holder].lives())
    }

    /// A fleet is scaled to one more and left alone; not before anybody has noted how many hosts it has at rest.
    pub(super) fn release(&mut self) {
        let region = if self.kind == Kind::Regions { self.dice.usize(..2) } else { 0 };
        let location = self.living_in(region).next().and_then(|number| self.hosts[&number].facts.location());
        let claim = self.zone.claimed.as_ref();
        let noted = location.is_some() && claim.is_some_and(|claim| claim.target_in(location.as_ref()).is_some());
        let rest = self.fleets[region].rest;
        let members = self.members(region);
        if noted && (self.fleets[region].target, members) == (rest, rest) {
            self.say(|| format!("a release in region {region}: the target is {}", rest + 1));
            self.fleets[region].target = rest + 1;
        }
    }

    /// The two regions do not hear each other for a while, which no visitor sees.
    fn split(&mut self) {
        // What was begun upon the one before has to have come to its end.
        if self.now > self.split + 2 * SILENCE {
            self.split_since = self.now;
            self.split = self.now + self.dice.u64(30..LONGEST_SPLIT);
            self.causeless = 0;
            let until = self.split;
            self.say(|| format!("the regions do not hear each other until {until}"));
        }
    }

    /// A notice where nothing else is under way.
    fn notice_in_peace(&mut self, number: u32) {
        let fleet = self.fleet(number);
        let at_rest = (fleet.target, self.members_with(number)) == (1, 1) && self.now >= fleet.settles;
        if at_rest && self.zone.owner() == Some(number) && self.hosts[&number].leads.is_some() {
            self.announce(number);
        }
    }

    pub(super) fn die(&mut self, number: u32) {
        self.say(|| format!("i-{number:04} dies"));
        self.kill(number);
    }

    pub(super) fn stop_or_go_on(&mut self, number: u32) {
        let host = self.host(number);
        host.life = if host.life == Life::Stopped { Life::Running } else { Life::Stopped };
        let life = host.life;
        self.say(|| format!("i-{number:04} is {life:?}"));
    }

    fn cut_off_or_mend(&mut self, number: u32) {
        let host = self.host(number);
        host.cut_off = !host.cut_off;
        let cut_off = host.cut_off;
        self.say(|| format!("i-{number:04} is cut off: {cut_off}"));
    }

    fn slow_down_or_up(&mut self, number: u32) {
        let host = self.host(number);
        host.slow = if host.slow == 0 { SLOW } else { 0 };
        host.slowest = SLOW;
        let slow = host.slow;
        self.say(|| format!("i-{number:04} is slow: {slow}"));
    }

    fn say_down(&mut self) {
        let down = self.zone.down;
        self.say(|| format!("Route 53 is down until {down}"));
    }
}
