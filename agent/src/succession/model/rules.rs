//! The rules, as they are checked after every step.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{
    Broken, Kind, LINGER, LOOK, SILENCE, STUBBORN, Seconds,
    host::{Host, Life},
    world::World,
    zone::number as number_of,
};
use crate::claim::{Claim, DOUBT};

/// Between a question and what is done upon its answer.
const HESITATION: Seconds = 8;
/// The longest that a successor takes to be launched and ready, and the one before it to linger and leave.
const CHANGES: Seconds = LINGER + 600;

impl World {
    /// Rule 2, first half, for the batch that was just carried out.
    pub(super) fn check_right(&mut self, number: u32, before: Option<&Claim>) -> Result<(), Broken> {
        let me = &self.hosts[&number];
        let claim = self.zone.claimed.as_ref().ok_or_else(|| Broken("a batch without a claim".into()))?;
        let Some(before) = before else { return Ok(()) };
        if claim.epoch != before.epoch + 1 {
            return Err(Broken(format!("rule 2: epoch {} follows {}", claim.epoch, before.epoch)));
        }
        let Some(other) = number_of(&before.instance) else { return Ok(()) };
        if other == number || before.departing || !self.answers(other) {
            return Ok(());
        }
        // It lives and answers. If it has only just begun to again, somebody may still take it for silent.
        let younger = before.launched_against(&me.facts) == Ordering::Less;
        if younger && me.claimant.held.is_none() && before.over.as_ref() != Some(&me.facts.instance) {
            return Ok(());
        }
        // A slow host may only now carry out what it decided while it did not hear the other.
        if self.now < self.split + 60 + 3 * me.slowest && me.region != self.hosts[&other].region {
            return self.check_cause(number, other);
        }
        if self.now.saturating_sub(self.hosts[&other].unwell) > 2 * LOOK + 3 * me.slowest + 10 {
            Err(Broken(format!(
                "rule 2: {} takes the names from {}, which is well",
                me.facts.instance, before.instance
            )))
        } else {
            Ok(())
        }
    }

    /// Rule 8, for names that a host has taken from one that visitors are answered by, and which it did not hear.
    ///
    /// A host that begins amid a split knows nothing of what was doubted before: it finds an owner that it does not hear, and may take
    /// the names once. It doubts like all others from then on.
    fn check_cause(&mut self, number: u32, other: u32) -> Result<(), Broken> {
        let begun = self.hosts[&number].unwell;
        if begun > self.split_since && self.newcomers.insert((number, begun)) {
            return Ok(());
        }
        self.causeless += 1;
        match self.causeless {
            0 | 1 => Ok(()),
            times => Err(Broken(format!(
                "rule 8: i-{number:04} takes the names from i-{other:04}, the {times}. time without a cause that a visitor sees"
            ))),
        }
    }

    /// Rule 3, for a host that is about to be ended by a host.
    pub(super) fn check_leaving(&self, number: u32, replaced: bool) -> Result<(), Broken> {
        let broken = |why: &str| Err(Broken(format!("rule 3: i-{number:04} leaves {why}")));
        let owner = self.zone.owner();
        let moment = HESITATION + self.hosts[&number].slowest;
        if owner == Some(number) && !replaced && self.now >= self.zone.moved + HESITATION + self.hosts[&number].slowest
        {
            return broken("while it owns the names");
        }
        let here = self.hosts[&number].facts.location();
        let claimed = self.zone.claimed.as_ref().and_then(|claim| claim.target_in(here.as_ref()));
        let floor = claimed.unwrap_or(self.fleet(number).rest);
        // Whoever has died in this moment was still counted when the fleet was looked at.
        let region = self.hosts[&number].region;
        let of_it = self.hosts.values().filter(|host| host.region == region);
        let just = of_it.filter(|host| host.died.is_some_and(|died| died + moment >= self.now));
        if !replaced && self.members(region) + u32::try_from(just.count()).expect("few") <= floor {
            return broken("a fleet that needs it");
        }
        let Some(owner) = owner.filter(|_| self.answers(number) && !replaced) else { return Ok(()) };
        // What serves is ended only where the owner answers, or did when it was asked.
        let host = &self.hosts[&owner];
        if self.answers(owner) || host.lives() || host.died.is_some_and(|died| died + moment >= self.now) {
            Ok(())
        } else {
            broken("while nobody else answers")
        }
    }

    pub(super) fn check(&mut self) -> Result<(), Broken> {
        let led = self.led_to();
        if let Some(number) = led.filter(|number| !self.hosts[number].is_ready(self.now)) {
            return Err(Broken(format!("rule 4: the name leads to i-{number:04}, which was never ready")));
        }
        let well = led.is_some_and(|number| self.answers(number));
        self.once_up |= well;
        let dark = self.once_up && !well && self.now >= self.zone.down;
        // Each host is given its own time: one that could not follow, as it was stopped or cut off, may only now begin to watch.
        let able = |(number, host): (&u32, &Host)| {
            (self.answers(*number) && host.slow == 0 && host.taken.is_none()).then_some(*number)
        };
        let able: BTreeSet<u32> = if dark { self.hosts.iter().filter_map(able).collect() } else { BTreeSet::new() };
        self.dark.retain(|number, _| able.contains(number));
        for number in able {
            let since = *self.dark.entry(number).or_insert(self.now);
            // Silence is watched for so long, by looks of a host that may have begun them only just now.
            // One that has followed from another region may have to be given longer.
            let silence = if self.kind == Kind::Regions { SILENCE * Seconds::from(DOUBT) } else { SILENCE };
            if self.now - since > silence + 8 * LOOK + 60 {
                return Err(Broken(format!(
                    "rule 1: the name leads to nobody, and i-{number:04} could have followed since {since}"
                )));
            }
        }
        for fleet in &self.fleets {
            if fleet.early.windows(2).any(|two| two[1] < two[0] + 3600) {
                return Err(Broken(format!("rule 6: successors were asked for early at {:?}", fleet.early)));
            }
        }
        self.check_beliefs()
    }

    /// Rule 2, second half: one look is a pause, and the steps of a look.
    fn check_beliefs(&mut self) -> Result<(), Broken> {
        let now = self.now;
        let down = self.zone.down;
        let owner = self.zone.owner();
        for (number, host) in &mut self.hosts {
            let blind = host.life != Life::Running || host.cut_off || host.departs.is_some() || now < down;
            if blind || !host.believes() || owner == Some(*number) {
                host.wrong = None;
                continue;
            }
            let since = *host.wrong.get_or_insert(now);
            if now - since > 3 * LOOK + 4 * host.slowest + 20 {
                return Err(Broken(format!("rule 2: i-{number:04} has believed to be the owner since {since}")));
            }
        }
        Ok(())
    }

    /// Rule 5, where nothing is broken. A resolver that keeps an answer for longer than EC2 gives notice is out of reach.
    pub(super) fn visit(&mut self) -> Result<(), Broken> {
        for index in 0..self.visitors.len() {
            let keeps = self.visitors[index].keeps;
            let kept = self.visitors[index].answer;
            let address = match kept {
                Some((address, until)) if self.now < until => Some(address),
                _ => self.zone.led_to(),
            };
            let Some(address) = address else { continue };
            if kept.is_none_or(|(_, until)| self.now >= until) {
                self.visitors[index].answer = Some((address, self.now + keeps));
            }
            let host = self.at_address(address);
            let answered = host.is_some_and(|number| self.answers(number));
            let taken = host.is_some_and(|number| self.hosts[&number].taken.is_some());
            if !answered && self.kind == Kind::Releases && !(taken && keeps == STUBBORN) {
                let said = format!("rule 5: a visitor who keeps answers for {keeps} s went to {address}, in vain");
                return Err(Broken(said));
            }
        }
        Ok(())
    }

    /// What has to be so at the end of a history.
    pub(super) fn check_the_end(&self) -> Result<(), Broken> {
        for (region, fleet) in self.fleets.iter().enumerate() {
            let target = fleet.target;
            let members = self.members(region);
            // As long as EC2 recommends to move, a host asks for a successor each hour: a history may end amid a change of hosts.
            let changes = fleet.early.last().is_some_and(|asked| self.now < asked + CHANGES);
            if !changes && (target, members) != (fleet.rest, fleet.rest) {
                return Err(Broken(format!(
                    "rule 3: in the end the fleet of region {region} has {members} hosts and a target of {target}"
                )));
            }
        }
        if self.led_to().is_some_and(|led| self.answers(led)) {
            Ok(())
        } else {
            Err(Broken("rule 1: in the end the name does not lead to a host that is left".into()))
        }
    }
}
