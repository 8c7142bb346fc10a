//! The progress of a roll-out. Pure: the claim and the fleet go in, progress and the next action come out.

use std::fmt;

use crate::{aws::FleetState, claim::Claim, probe::Heard};

/// The goal of a roll-out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// The host that is to be followed; none where that has happened before.
    pub old: Option<String>,
    /// Version of the program that the new host is to run.
    pub program: Option<String>,
    /// The package that it is to serve: the first characters of its ETag.
    pub package: Option<String>,
    /// How many hosts the fleet has at rest.
    pub floor: u32,
}

/// The site at one moment, as a roll-out sees it.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Who claims the names.
    pub claim: Option<Claim>,
    /// Whether that host answers over the network.
    pub answers: bool,
    /// The fleet.
    pub fleet: FleetState,
    /// Its hosts by instance id, and the answer of each.
    pub hosts: Vec<(String, Heard)>,
}

/// The progress of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutProgress {
    /// The fleet is to start a host.
    Starting,
    /// A new host is there, and does not own the names yet.
    Booting,
    /// It owns the names, and the ones before it are still there.
    Leaving {
        /// Who owns the names.
        owner: String,
        /// How many hosts have to go.
        left: u32,
    },
    /// The new owner answers, and no other host is left.
    Done {
        /// Who owns the names.
        owner: String,
    },
    /// It has come to nothing.
    Failed(String),
}

impl Goal {
    /// How far it is, as `sight` has it; `raised` says that the fleet was seen with a host more than it has at rest.
    pub fn progress(&self, sight: &Sight, raised: bool) -> RolloutProgress {
        let fleet = &sight.fleet;
        let new = sight.claim.as_ref().filter(|claim| self.old.as_ref() != Some(&claim.instance));
        let Some(owner) = new else {
            return match (fleet.members > self.floor, fleet.target > self.floor) {
                (true, _) => RolloutProgress::Booting,
                (false, true) => RolloutProgress::Starting,
                (false, false) if raised => {
                    RolloutProgress::Failed("the new host has left again: it never answered for the domain".to_owned())
                }
                (false, false) => RolloutProgress::Starting,
            };
        };
        if let Some(why) = self.differs(owner) {
            return RolloutProgress::Failed(why);
        }
        let name = owner.instance.clone();
        match fleet.members.saturating_sub(self.floor) {
            0 if fleet.target <= self.floor && sight.answers => RolloutProgress::Done { owner: name },
            left => RolloutProgress::Leaving { owner: name, left },
        }
    }

    fn differs(&self, claim: &Claim) -> Option<String> {
        let owner = &claim.instance;
        let compare = |what: &str, wanted: &Option<String>, is: &Option<String>| {
            let wanted = wanted.as_deref()?;
            let is = is.as_deref().unwrap_or("not reported");
            (!is.starts_with(wanted)).then(|| format!("{owner} owns the names with the {what} {is}, not {wanted}"))
        };
        compare("program", &self.program, &claim.version).or_else(|| compare("package", &self.package, &claim.package))
    }
}

impl fmt::Display for RolloutProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RolloutProgress::Starting => f.write_str("the fleet is to start a host"),
            RolloutProgress::Booting => f.write_str("a new host boots; the old one serves"),
            RolloutProgress::Leaving { owner, left: 0 } => write!(f, "{owner} owns the names; the fleet comes to rest"),
            RolloutProgress::Leaving { owner, left } => {
                let hosts = if *left == 1 { "the host before it serves" } else { "the hosts before it serve" };
                write!(f, "{owner} owns the names; {hosts} the remaining visitors")
            }
            RolloutProgress::Done { owner } => {
                write!(f, "{owner} owns the names and answers, and no other host is left")
            }
            RolloutProgress::Failed(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::host::tests::host;

    fn sight(owner: &str, answers: bool, target: u32, members: u32) -> Sight {
        let fleet = FleetState { target, members, settled: true, floor: Some(1), leaves_in_one: false };
        Sight { claim: Some(Claim::of(&host(owner, 1), 3)), answers, fleet, hosts: Vec::new() }
    }

    #[test]
    fn roll_out_goes_from_one_host_to_the_next() {
        let goal = Goal { old: Some("i-old".into()), floor: 1, ..Goal::default() };
        let (old, new) = (|target, members| sight("i-old", true, target, members), "i-new".to_owned());
        let failed = |progress: &RolloutProgress| matches!(progress, RolloutProgress::Failed(_));
        assert_eq!(goal.progress(&old(1, 1), false), RolloutProgress::Starting);
        assert_eq!(goal.progress(&old(2, 1), true), RolloutProgress::Starting);
        assert_eq!(goal.progress(&old(2, 2), true), RolloutProgress::Booting);
        assert!(failed(&goal.progress(&old(1, 1), true)), "it has left again");
        let leaving = |left| RolloutProgress::Leaving { owner: new.clone(), left };
        assert_eq!(goal.progress(&sight("i-new", true, 2, 2), true), leaving(1));
        assert_eq!(goal.progress(&sight("i-new", true, 1, 2), true), leaving(1));
        assert_eq!(goal.progress(&sight("i-new", false, 1, 1), true), leaving(0), "it must answer");
        assert_eq!(goal.progress(&sight("i-new", true, 1, 1), true), RolloutProgress::Done { owner: new });
    }

    #[test]
    fn owner_with_something_else_than_was_wanted_is_a_failure() {
        let mut sight = sight("i-new", true, 1, 1);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let goal = Goal { old: Some("i-old".into()), floor: 1, program: Some(version), ..Goal::default() };
        assert!(matches!(goal.progress(&sight, true), RolloutProgress::Done { .. }));
        sight.claim = sight.claim.map(|claim| claim.serving("\"abcdef\""));
        let package = |package: &str| Goal { package: Some(package.into()), ..goal.clone() };
        assert!(matches!(package("abc").progress(&sight, true), RolloutProgress::Done { .. }));
        let RolloutProgress::Failed(why) = package("abd").progress(&sight, true) else { panic!("it is another") };
        assert!(why.contains("abcdef, not abd"), "{why}");
    }
}
