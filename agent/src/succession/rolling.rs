//! A roll-out where people are led to every host: each that was there is replaced in its turn. Pure: what is seen of the fleet
//! goes in, the next step comes out.

use std::{collections::BTreeSet, fmt};

use time::OffsetDateTime;

use crate::aws::FleetState;

/// The goal of a roll-out among many hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollingReplacement {
    /// The hosts that are to be replaced.
    pub old: BTreeSet<String>,
    /// Version of the program that the new ones are to run.
    pub program: Option<String>,
    /// The package that they are to serve: the first characters of its ETag.
    pub package: Option<String>,
    /// How many hosts the fleet has at rest.
    pub floor: u32,
}

/// One host of the fleet, as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Instance id.
    pub id: String,
    /// When it was launched.
    pub launched: Option<OffsetDateTime>,
    /// Whether records lead to it.
    pub led: bool,
    /// Whether it answers for the domain.
    pub answers: bool,
    /// Version of the program, as it says beside the packages.
    pub program: Option<String>,
    /// Entity tag of the package that it serves, as it says there.
    pub package: Option<String>,
}

/// The next step of the roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacementStep {
    /// The fleet is to have so many hosts.
    Raise(u32),
    /// Nothing but to wait, for that.
    Wait(WaitReason),
    /// This host is ended; the fleet replaces it, or has one less from then on.
    End {
        /// Instance id.
        host: String,
        /// Whether another is to be started in its place.
        replaced: bool,
    },
    /// The target is set to this, and no host is ended for it.
    Lower(u32),
    /// Every host is a new one, and answers.
    Done(u32),
    /// It has come to nothing, for this host: it is not what was wanted.
    Failed {
        /// Instance id.
        host: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The event that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The fleet starts a host.
    Launch,
    /// This host boots.
    Boot(String),
    /// Hosts that have been ended go.
    Rest,
}

impl Member {
    fn is_ready(&self) -> bool {
        self.led && self.answers
    }
}

impl RollingReplacement {
    /// Whether this host is what was wanted; unknown while nothing is wanted in particular, or it has not said yet.
    pub fn is_wanted(&self, member: &Member) -> Option<bool> {
        let one = |wanted: &Option<String>, is: &Option<String>| {
            let wanted = wanted.as_ref()?;
            Some(is.as_ref()?.trim_matches('"').starts_with(wanted.trim_matches('"')))
        };
        match (one(&self.program, &member.program), one(&self.package, &member.package)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, None) => None,
            _ => Some(true),
        }
    }

    fn wants_anything(&self) -> bool {
        self.program.is_some() || self.package.is_some()
    }

    /// What comes next. At every moment at least as many hosts answer as the fleet has at rest, if they did in the beginning.
    pub fn next(&self, fleet: &FleetState, members: &[Member]) -> ReplacementStep {
        let (old, new): (Vec<&Member>, Vec<&Member>) = members.iter().partition(|member| self.old.contains(&member.id));
        if let Some(wrong) = new.iter().find(|member| member.is_ready() && self.is_wanted(member) == Some(false)) {
            let says = |what: &Option<String>| what.clone().unwrap_or_else(|| "not reported".to_owned());
            let why = format!(
                "{} runs the program {} and serves the package {}",
                wrong.id,
                says(&wrong.program),
                says(&wrong.package)
            );
            return ReplacementStep::Failed { host: wrong.id.clone(), why };
        }
        let settles =
            |member: &&&Member| !member.is_ready() || (self.wants_anything() && self.is_wanted(member) != Some(true));
        if let Some(boots) = new.iter().find(settles) {
            return ReplacementStep::Wait(WaitReason::Boot(boots.id.clone()));
        }
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        // What EC2 does not know yet was launched a moment ago.
        let age = |member: &&&Member| (member.launched.is_none(), member.launched, member.id.clone());
        let oldest = |hosts: &[&Member]| hosts.iter().min_by_key(age).map(|member| member.id.clone());
        match (oldest(&old), count > self.floor) {
            (Some(host), true) => ReplacementStep::End { host, replaced: old.len() > 1 },
            (Some(_), false) if fleet.target <= self.floor => ReplacementStep::Raise(self.floor + 1),
            (Some(_), false) => ReplacementStep::Wait(WaitReason::Launch),
            // A host more than there should be, and none of those from before: that of a roll-out that was interrupted.
            (None, true) => match oldest(&new) {
                Some(host) => ReplacementStep::End { host, replaced: false },
                None => ReplacementStep::Wait(WaitReason::Launch),
            },
            (None, false) if fleet.target > self.floor => ReplacementStep::Lower(self.floor),
            (None, false) if count < self.floor => ReplacementStep::Wait(WaitReason::Launch),
            (None, false) if fleet.members > self.floor => ReplacementStep::Wait(WaitReason::Rest),
            (None, false) => ReplacementStep::Done(self.floor),
        }
    }
}

impl fmt::Display for ReplacementStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplacementStep::Raise(to) => write!(f, "the fleet is to have {to} hosts"),
            ReplacementStep::Wait(WaitReason::Launch) => f.write_str("the fleet is to start a host"),
            ReplacementStep::Wait(WaitReason::Boot(host)) => write!(f, "{host} boots; the others serve"),
            ReplacementStep::Wait(WaitReason::Rest) => f.write_str("the fleet comes to rest"),
            ReplacementStep::End { host, .. } => write!(f, "{host} is ended: the names lead to enough others"),
            ReplacementStep::Lower(to) => write!(f, "the fleet is to have {to} hosts again"),
            ReplacementStep::Done(1) => f.write_str("the host is a new one, and answers"),
            ReplacementStep::Done(hosts) => write!(f, "all {hosts} hosts are new ones, and answer"),
            ReplacementStep::Failed { why, .. } => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn fleet(target: u32, members: u32) -> FleetState {
        FleetState { target, members, settled: true, floor: None, leaves_in_one: false }
    }

    fn member(id: &str, minute: i64, ready: bool) -> Member {
        Member {
            id: id.into(),
            launched: Some(datetime!(2026-11-01 12:00 UTC) + time::Duration::minutes(minute)),
            led: ready,
            answers: ready,
            program: ready.then(|| "0.2.0".to_owned()),
            package: ready.then(|| "\"abcdef\"".to_owned()),
        }
    }

    fn replacement() -> RollingReplacement {
        RollingReplacement {
            old: ["i-a".to_owned(), "i-b".to_owned()].into(),
            floor: 2,
            ..RollingReplacement::default()
        }
    }

    #[test]
    fn each_host_has_its_turn_and_enough_answer_throughout() {
        let a = member("i-a", 1, true);
        let b = member("i-b", 2, true);
        let c = |ready| member("i-c", 3, ready);
        let d = |ready| member("i-d", 4, ready);
        let end = |host: &str, replaced| ReplacementStep::End { host: host.into(), replaced };
        let boots = |host: &str| ReplacementStep::Wait(WaitReason::Boot(host.into()));
        let table = [
            (fleet(2, 2), vec![a.clone(), b.clone()], ReplacementStep::Raise(3)),
            (fleet(3, 2), vec![a.clone(), b.clone()], ReplacementStep::Wait(WaitReason::Launch)),
            (fleet(3, 3), vec![a.clone(), b.clone(), c(false)], boots("i-c")),
            (fleet(3, 3), vec![b.clone(), a.clone(), c(true)], end("i-a", true)),
            (fleet(3, 2), vec![b.clone(), c(true)], ReplacementStep::Wait(WaitReason::Launch)),
            (fleet(3, 3), vec![b.clone(), c(true), d(false)], boots("i-d")),
            (fleet(3, 3), vec![b.clone(), c(true), d(true)], end("i-b", false)),
            (fleet(2, 2), vec![c(true), d(false)], boots("i-d")),
            (fleet(3, 2), vec![c(true), d(true)], ReplacementStep::Lower(2)),
            (fleet(2, 3), vec![c(true), d(true)], ReplacementStep::Wait(WaitReason::Rest)),
            (fleet(2, 2), vec![c(true), d(true)], ReplacementStep::Done(2)),
            // One of the new ones is taken meanwhile.
            (fleet(2, 1), vec![c(true)], ReplacementStep::Wait(WaitReason::Launch)),
        ];
        for (number, (fleet, members, expected)) in table.into_iter().enumerate() {
            assert_eq!(replacement().next(&fleet, &members), expected, "row {number}");
        }
    }

    #[test]
    fn host_that_is_not_what_was_wanted_ends_it_and_one_that_has_not_said_is_waited_for() {
        let a = member("i-a", 1, true);
        let b = member("i-b", 2, true);
        let c = member("i-c", 3, true);
        let wants = |program: &str, package: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            RollingReplacement { program: some(program), package: some(package), ..replacement() }
        };
        let next = |replacement: &RollingReplacement, c: &Member| {
            replacement.next(&fleet(3, 3), &[a.clone(), b.clone(), c.clone()])
        };
        for right in [wants("0.2.0", ""), wants("", "abc"), wants("0.2.0", "\"abc")] {
            assert!(matches!(next(&right, &c), ReplacementStep::End { .. }), "{right:?}");
        }
        for wrong in [wants("0.3", ""), wants("", "abd"), wants("0.2.0", "abd")] {
            assert!(matches!(next(&wrong, &c), ReplacementStep::Failed { .. }), "{wrong:?}");
        }
        let silent = Member { program: None, package: None, ..c.clone() };
        assert_eq!(next(&wants("0.2.0", ""), &silent), ReplacementStep::Wait(WaitReason::Boot("i-c".into())));
        assert!(matches!(next(&replacement(), &silent), ReplacementStep::End { .. }), "nothing was wanted of it");
    }
}
