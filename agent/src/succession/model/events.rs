//! What people, EC2 and the network do.

use super::{Kind, host::Life, world::World};

impl World {
    /// Something happens.
    pub(super) fn happen(&mut self) {
        let living: Vec<u32> = self.living().collect();
        let Some(number) = self.dice.choice(&living).copied() else { return };
        match self.kind {
            Kind::Quiet => {}
            Kind::Releases if self.dice.bool() => self.release(),
            Kind::Releases => self.notice_in_peace(number),
            Kind::Faults => match self.dice.u8(..16) {
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
                    let (ahead, knows) = (self.dice.i64(-900..900), self.dice.bool());
                    let host = self.host(number);
                    (host.ahead, host.knows) = (ahead, knows);
                    self.say(|| format!("the clock of i-{number:04} is off by {ahead} s, known: {knows}"));
                }
                15 if self.fleet.target > 1 => {
                    self.say(|| "somebody lowers the target, and lets the fleet choose".to_owned());
                    self.fleet.target -= 1;
                    self.shed();
                }
                _ => {}
            },
        }
    }

    /// The fleet is scaled to two and left alone; not before anybody has noted how many hosts it has at rest.
    pub(super) fn release(&mut self) {
        let noted = self.zone.claimed.as_ref().is_some_and(|claim| claim.target.is_some());
        if noted && (self.fleet.target, self.members()) == (1, 1) {
            self.say(|| "a release: the target is 2".to_owned());
            self.fleet.target = 2;
        }
    }

    /// A notice where nothing else is under way.
    fn notice_in_peace(&mut self, number: u32) {
        let at_rest = (self.fleet.target, self.members()) == (1, 1) && self.now >= self.fleet.settles;
        if at_rest && self.zone.owner() == Some(number) && self.hosts[&number].claim.is_some() {
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
        host.slow = if host.slow == 0 { 40 } else { 0 };
        host.slowest = 40;
        let slow = host.slow;
        self.say(|| format!("i-{number:04} is slow: {slow}"));
    }

    fn say_down(&mut self) {
        let down = self.zone.down;
        self.say(|| format!("Route 53 is down until {down}"));
    }
}
