//! A departing host: it hands over, by the steps that the program takes.

use std::mem;

use time::{OffsetDateTime, macros::datetime};

use super::{
    super::steps::{HandingOver, Steps},
    Broken, Seconds,
    host::{OfDeparture, OfNames, OfPlace},
    world::World,
};
use crate::{claim::records::departing, departure::by_our_clock};

/// When histories begin.
const BEGIN: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
/// How long before its end a host has drained.
const DRAINED: Seconds = 5;

impl World {
    /// One step of it; after how long the next one comes.
    pub(super) fn step_of_departure(&mut self, number: u32) -> Result<Seconds, Broken> {
        if self.hosts[&number].departs.is_none() {
            return self.notice(number);
        }
        let at = mem::replace(&mut self.host(number).departure.0, OfDeparture::Done);
        let OfDeparture::HandsOver(mut steps, batch) = at else { return Ok(super::END) };
        let Ok(Some(request)) = self.with_context(number, |context| steps.next(context)) else {
            return Ok(super::END);
        };
        // What is said of the claim needs to know which batch was sent.
        self.host(number).departure.0 = OfDeparture::HandsOver(steps.clone(), batch);
        let Some(outcome) = self.carry_out(number, request)? else { return Ok(self.dice.u64(1..4)) };
        // What failed is tried again.
        let heard = self.with_context(number, |context| steps.came(outcome, context));
        self.host(number).departure.0 = OfDeparture::HandsOver(steps, None);
        Ok(if heard.is_ok() { self.dice.u64(1..4) } else { self.dice.u64(1..6) })
    }

    /// Whether visitors of that host, which departs, may still come.
    pub(super) fn drains(&self, number: u32) -> bool {
        self.hosts[&number].departs.is_some_and(|until| self.now + DRAINED < until)
    }

    /// Reads the claim, and then sends what says in it that this host goes; whether it says so now, once that has arrived.
    pub(super) fn say_departing(&mut self, number: u32, asked: Option<u32>) -> Option<bool> {
        if self.now < self.zone.down {
            return Some(false);
        }
        let OfDeparture::HandsOver(_, batch) = &mut self.host(number).departure.0 else { return Some(false) };
        if let Some(batch) = batch.take() {
            let carried_out = self.zone.carry_out(&batch, self.flaw, self.now);
            if carried_out {
                self.say(|| format!("i-{number:04} says that it goes, asked: {asked:?}"));
                self.host(number).writes += 1;
            }
            return Some(carried_out);
        }
        let facts = &self.hosts[&number].facts;
        match departing(facts, &self.zone.names[0], &self.zone.records, asked.is_some(), asked) {
            Ok(Some(change)) => {
                if let OfDeparture::HandsOver(_, batch) = &mut self.host(number).departure.0 {
                    *batch = Some(change.steps);
                }
                None
            }
            // The names are another's by now.
            _ => Some(true),
        }
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
        let knows = host.knows;
        (host.names.0, host.place.0) = (OfNames::Rest, OfPlace::Rest);
        let steps = self.with_context(number, |context| HandingOver::new(false, context));
        self.host(number).departure.0 = OfDeparture::HandsOver(steps, None);
        if knows && until.abs_diff(taken) > 5 {
            return Err(Broken(format!("rule 7: i-{number:04} goes at {until}, and is taken at {taken}")));
        }
        Ok(1)
    }
}
