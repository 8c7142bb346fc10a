//! The phases of each host during a roll-out, seen from outside of the fleet. Pure: looks go in, changes come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::rollout::Sight;
use crate::probe::Heard;

/// The phase of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its fleet counts it, and nothing is heard of it.
    Starting,
    /// Its agent runs, and has no site or certificate yet.
    Booting,
    /// It answers for the domain, and has never owned the names.
    Ready,
    /// The names lead to it, and it answers.
    Owner,
    /// The names lead to it, and it says that it goes.
    Departing,
    /// The names led to it before: it serves those who still come.
    Superseded,
    /// It answered before, and does not any more.
    Silent,
    /// Its fleet no longer counts it.
    Gone,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Starting => "starts",
            Phase::Booting => "boots: no site or certificate yet",
            Phase::Ready => "ready: it answers for the domain",
            Phase::Owner => "owner: the names lead to it",
            Phase::Departing => "owner, and says that it is leaving",
            Phase::Superseded => "superseded: it serves the remaining visitors",
            Phase::Silent => "silent: it does not answer any more",
            Phase::Gone => "gone",
        })
    }
}

/// One host that is in another phase than it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhaseChange {
    /// Instance id.
    pub host: String,
    /// The phase before; none when it was not known.
    pub was: Option<Phase>,
    /// The phase now.
    pub phase: Phase,
}

/// Every host that was seen, and its phase.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    hosts: BTreeMap<String, Phase>,
    owners: BTreeSet<String>,
}

impl Phases {
    /// The changes since the look before.
    pub fn look(&mut self, sight: &Sight) -> Vec<PhaseChange> {
        let owner = sight.claim.as_ref().map(|claim| claim.instance.clone());
        self.owners.extend(owner.clone());
        let mut now: BTreeMap<String, Phase> = self.hosts.keys().map(|host| (host.clone(), Phase::Gone)).collect();
        for (host, heard) in &sight.hosts {
            let departs = sight.claim.as_ref().is_some_and(|claim| claim.departing);
            let phase = self.phase(host, *heard, owner.as_ref() == Some(host), departs);
            now.insert(host.clone(), phase);
        }
        let was = std::mem::replace(&mut self.hosts, now.clone());
        let changes = now.into_iter().filter(|(host, phase)| was.get(host) != Some(phase));
        changes.map(|(host, phase)| PhaseChange { was: was.get(&host).copied(), host, phase }).collect()
    }

    fn phase(&self, host: &str, heard: Heard, owns: bool, departs: bool) -> Phase {
        let answered = self.owners.contains(host)
            || self.hosts.get(host).is_some_and(|was| !matches!(was, Phase::Starting | Phase::Booting | Phase::Gone));
        // A host with too many visitors has answered some.
        let heard = if heard == Heard::Full && answered { Heard::Site } else { heard };
        match heard {
            Heard::Site if owns && departs => Phase::Departing,
            Heard::Site if owns => Phase::Owner,
            Heard::Site if self.owners.contains(host) => Phase::Superseded,
            Heard::Site => Phase::Ready,
            Heard::Nothing | Heard::Somebody | Heard::Waiting | Heard::Full if answered => Phase::Silent,
            Heard::Somebody | Heard::Waiting | Heard::Full => Phase::Booting,
            Heard::Nothing => Phase::Starting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::{FleetState, host::tests::host},
        claim::Claim,
    };

    fn sight(owner: &str, hosts: &[(&str, Heard)]) -> Sight {
        Sight {
            claim: Some(Claim::of(&host(owner, 1), 3)),
            answers: true,
            fleet: FleetState { target: 1, members: 1, settled: true, floor: Some(1), leaves_in_one: false },
            hosts: hosts.iter().map(|(host, heard)| ((*host).to_owned(), *heard)).collect(),
        }
    }

    #[test]
    fn phases_of_a_release_are_told_once_each() {
        let nothing = Heard::Nothing;
        let somebody = Heard::Somebody;
        let site = Heard::Site;
        let table: [(Sight, &[(&str, Phase)]); 11] = [
            (sight("i-old", &[("i-old", site)]), &[("i-old", Phase::Owner)]),
            (sight("i-old", &[("i-old", site), ("i-new", nothing)]), &[("i-new", Phase::Starting)]),
            (sight("i-old", &[("i-old", site), ("i-new", somebody)]), &[("i-new", Phase::Booting)]),
            (sight("i-old", &[("i-old", site), ("i-new", somebody)]), &[]),
            (sight("i-old", &[("i-old", site), ("i-new", site)]), &[("i-new", Phase::Ready)]),
            (
                sight("i-new", &[("i-old", site), ("i-new", site)]),
                &[("i-new", Phase::Owner), ("i-old", Phase::Superseded)],
            ),
            (sight("i-new", &[("i-old", nothing), ("i-new", site)]), &[("i-old", Phase::Silent)]),
            (sight("i-new", &[("i-new", site)]), &[("i-old", Phase::Gone)]),
            (sight("i-new", &[("i-new", Heard::Full)]), &[]),
            (sight("i-new", &[("i-new", site), ("i-next", Heard::Full)]), &[("i-next", Phase::Booting)]),
            (sight("i-new", &[("i-new", somebody), ("i-next", Heard::Full)]), &[("i-new", Phase::Silent)]),
        ];
        let mut phases = Phases::default();
        for (number, (sight, expected)) in table.iter().enumerate() {
            let changes = phases.look(sight);
            let told: Vec<_> = changes.iter().map(|change| (change.host.as_str(), change.phase)).collect();
            assert_eq!(told, *expected, "look {number}");
        }
    }
}
