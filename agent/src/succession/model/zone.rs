//! Route 53: record sets, and batches of which all is carried out or nothing.

use std::net::Ipv4Addr;

use super::{Flaw, Seconds};
use crate::{
    aws::zone::{RecordChange, RecordType, Records},
    claim::{Claim, claim_name, records::claim},
    place::Name,
};

/// One hosted zone.
pub(super) struct Zone {
    pub(super) names: Vec<Name>,
    pub(super) records: Vec<Records>,
    /// What the claim says, or said before a flaw removed a part of it.
    pub(super) claimed: Option<Claim>,
    /// It is down until then.
    pub(super) down: Seconds,
    /// When a batch was carried out last.
    pub(super) moved: Seconds,
}

impl Zone {
    pub(super) fn new() -> Zone {
        let names = vec!["www.example.org".parse().expect("a name")];
        Zone { names, records: Vec::new(), claimed: None, down: 0, moved: 0 }
    }

    /// Where the name leads.
    pub(super) fn led_to(&self) -> Option<Ipv4Addr> {
        let set = self.records.iter().find(|set| set.kind == RecordType::A)?;
        set.values.first()?.parse().ok()
    }

    /// The number of the host that claims the names.
    pub(super) fn owner(&self) -> Option<u32> {
        self.claimed.as_ref().and_then(|claim| number(&claim.instance))
    }

    /// All or nothing: a deletion has to name what is there, a creation has to find nothing.
    pub(super) fn carry_out(&mut self, batch: &[RecordChange], flaw: Flaw, now: Seconds) -> bool {
        let mut records = self.records.clone();
        let key = |set: &Records, other: &Records| set.name == other.name && set.kind == other.kind;
        let fenced = flaw != Flaw::NoFencing;
        for one in batch {
            match one {
                RecordChange::Delete(set) => match records.iter().position(|there| key(there, set)) {
                    Some(place) if records[place] == *set || !fenced => drop(records.remove(place)),
                    _ if fenced => return false,
                    _ => {}
                },
                RecordChange::Create(set) => {
                    if records.iter().any(|there| key(there, set)) && fenced {
                        return false;
                    }
                    records.retain(|there| !key(there, set));
                    records.push(set.clone());
                }
                RecordChange::Upsert(set) => {
                    records.retain(|there| !key(there, set));
                    records.push(set.clone());
                }
            }
        }
        self.claimed = claim(&self.names[0], &records).ok().flatten().map(|(claim, _)| claim);
        self.records = match flaw {
            Flaw::TakesBack => records.into_iter().map(|set| self.without_over(set)).collect(),
            _ => records,
        };
        self.moved = now;
        true
    }

    fn without_over(&self, set: Records) -> Records {
        let forget = |value: &String| match Claim::parse(value) {
            Ok(claim) => Claim { over: None, ..claim }.value(),
            Err(_) => value.clone(),
        };
        if set.name == claim_name(&self.names[0]) {
            Records { values: set.values.iter().map(forget).collect(), ..set }
        } else {
            set
        }
    }

    /// Somebody leads the name elsewhere by hand.
    pub(super) fn edit(&mut self, address: &str) {
        for set in self.records.iter_mut().filter(|set| set.kind == RecordType::A) {
            set.values = vec![address.to_owned()];
        }
    }
}

/// The number of that instance.
pub(super) fn number(instance: &str) -> Option<u32> {
    instance.strip_prefix("i-")?.parse().ok()
}
