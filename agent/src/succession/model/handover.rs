//! A departing host: it asks for a successor, and says in the claim that it goes.

use std::mem;

use time::{OffsetDateTime, macros::datetime};

use super::{
    super::Names,
    Broken, Seconds,
    host::{OfDeparture, OfNames, OfPlace},
    world::World,
};
use crate::{claim::records::departing, departure::by_our_clock};

/// When histories begin.
const BEGIN: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

impl World {
    /// One step of it; after how long the next one comes.
    pub(super) fn step_of_departure(&mut self, number: u32) -> Result<Seconds, Broken> {
        if self.hosts[&number].departs.is_none() {
            return self.notice(number);
        }
        let cut_off = self.hosts[&number].cut_off;
        match mem::replace(&mut self.host(number).departure.0, OfDeparture::Done) {
            OfDeparture::Rest | OfDeparture::Done => return Ok(super::END),
            OfDeparture::GivesBack => return self.give_own_place_back(number),
            OfDeparture::Asks => {
                let asked = if cut_off { None } else { self.ask_for_successor(number) };
                self.host(number).departure.0 = OfDeparture::Reads(asked);
            }
            OfDeparture::Reads(asked) if cut_off || self.now < self.zone.down => {
                self.host(number).departure.0 = OfDeparture::Reads(asked);
                return Ok(self.dice.u64(1..6));
            }
            OfDeparture::Reads(asked) => {
                self.will_give_back(number, asked);
                let facts = &self.hosts[&number].facts;
                let planned = departing(facts, &self.zone.names[0], &self.zone.records, asked.is_some(), asked);
                if let Ok(Some(change)) = planned {
                    self.host(number).departure.0 = OfDeparture::Sent(change.steps, asked);
                }
            }
            OfDeparture::Sent(batch, asked) => {
                let reached = !cut_off && self.now >= self.zone.down;
                if reached && self.zone.carry_out(&batch, self.flaw, self.now) {
                    self.say(|| format!("i-{number:04} says that it goes, asked: {asked:?}"));
                    self.host(number).writes += 1;
                    self.will_give_back(number, asked);
                } else {
                    self.host(number).departure.0 = OfDeparture::Reads(asked);
                }
            }
        }
        match self.hosts[&number].departure.0 {
            OfDeparture::GivesBack => {
                let until = self.hosts[&number].departs.unwrap_or_default();
                Ok(until.saturating_sub(self.now + 5).max(1))
            }
            _ => Ok(self.dice.u64(1..4)),
        }
    }

    /// A host of a group gives its own place back in the end, if it has asked for another.
    fn will_give_back(&mut self, number: u32, asked: Option<u32>) {
        if self.fleet(number).is_group && asked.is_some() {
            self.host(number).departure.0 = OfDeparture::GivesBack;
        }
    }

    fn give_own_place_back(&mut self, number: u32) -> Result<Seconds, Broken> {
        let floor = self.claimed(number).1.unwrap_or(1);
        if !self.hosts[&number].cut_off && self.fleet(number).target > floor {
            self.say(|| format!("i-{number:04} ends, and gives its place back"));
            self.kill(number);
            let fleet = self.fleet_mut(number);
            fleet.target = fleet.target.saturating_sub(1);
        }
        Ok(super::END)
    }

    /// It sees the notice: from here on its keepers rest, and what they were in the middle of is abandoned.
    fn notice(&mut self, number: u32) -> Result<Seconds, Broken> {
        let now = self.now;
        let host = self.host(number);
        let Some(taken) = host.taken else { return Ok(super::END) };
        let at = |second: Seconds| BEGIN + time::Duration::seconds(i64::try_from(second).expect("hours"));
        let ahead = time::Duration::seconds(host.ahead);
        let until = by_our_clock(at(taken), host.knows.then_some(ahead), at(now) + ahead) - ahead;
        let until = Seconds::try_from((until - BEGIN).whole_seconds()).unwrap_or(now);
        host.departs = Some(until);
        (host.names.0, host.place.0) = (OfNames::Rest, OfPlace::Rest);
        let here = host.leads == Names::Here;
        host.departure.0 = if here { OfDeparture::Asks } else { OfDeparture::Done };
        if host.knows && until.abs_diff(taken) > 5 {
            return Err(Broken(format!("rule 7: i-{number:04} goes at {until}, and is taken at {taken}")));
        }
        Ok(1)
    }

    /// What the target was before.
    fn ask_for_successor(&mut self, number: u32) -> Option<u32> {
        let (target, members) = (self.fleet(number).target, self.members_with(number));
        let floor = self.claimed(number).1;
        if floor.is_some_and(|floor| target > floor) || members > target {
            return None;
        }
        self.set_target(number, target + 1, "it asks for a successor").then_some(target)
    }
}
