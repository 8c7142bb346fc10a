//! What a host is in the succession, how it treats its visitors, and what it does next. Pure.

use std::{fmt, time::Duration};

use crate::{
    aws::Crew,
    config::{Succession, Then},
    status::Role,
};

/// How visitors are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As ever.
    #[default]
    Serve,
    /// They are answered, and told to come back on another connection: `Connection: close`, GOAWAY.
    Linger,
}

/// Where the names lead, as this host last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nobody knows yet.
    Unknown,
    /// To this host.
    Here,
    /// To another.
    Elsewhere {
        /// Since when, as far as this host has seen.
        since: Duration,
        /// Whether they led here before.
        held: bool,
        /// Whether the other one was asked for the site, and answered.
        answers: bool,
    },
}

/// All that a decision is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// For how long the process has run.
    pub running: Duration,
    /// Whether this host has answered for the domain at least once.
    pub answered: bool,
    /// Where the names lead.
    pub names: Names,
    /// The fleet; none without one, or as long as it could not be looked at.
    pub crew: Option<Crew>,
    /// Whether a host that departs has asked for a successor that is to be given back.
    pub owes: bool,
    /// Whether EC2 recommends to move to another instance.
    pub recommended: bool,
    /// Whether another host of the fleet has been there for long, and has never answered.
    pub overdue: bool,
}

/// What follows from a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// What the host is.
    pub role: Role,
    /// How it treats visitors.
    pub manner: Manner,
    /// What it does next, if anything.
    pub step: Option<Step>,
}

/// What a host does to its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Lowers the target, so that it is not replaced when it leaves.
    Lower {
        /// To this.
        to: u32,
    },
    /// Gives back a place that was asked for by a host that is gone.
    GiveBack {
        /// Lowering the target to this.
        to: u32,
    },
    /// Asks for a successor before it is needed.
    AskEarly {
        /// Raising the target to this.
        to: u32,
    },
    /// Ends another host, which has been there for long and has never answered: the fleet has one too many.
    Dismiss {
        /// Lowering the target to this before; none where the fleet has too many already.
        to: Option<u32>,
    },
    /// Ends itself: the fleet has one host too many.
    Leave,
    /// Ends itself, so that the fleet replaces it.
    BeReplaced,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Lower { to } => write!(f, "lowering the target of the fleet to {to}, to leave it"),
            Step::GiveBack { to } => write!(f, "giving back the place that was asked for: a target of {to}"),
            Step::AskEarly { to } => write!(f, "asking for a successor early: a target of {to}"),
            Step::Dismiss { .. } => f.write_str("ending a host that has never answered"),
            Step::Leave => f.write_str("leaving the fleet"),
            Step::BeReplaced => f.write_str("ending, to be replaced by the fleet"),
        }
    }
}

/// What a host in `situation` is and does. `ttl` is the records' time to live.
pub fn course(policy: &Succession, ttl: Duration, situation: &Situation) -> Course {
    let role = role(policy, ttl, situation);
    Course { role, manner: manner(policy, ttl, role, situation.names), step: step(policy, ttl, role, situation) }
}

fn role(policy: &Succession, ttl: Duration, situation: &Situation) -> Role {
    match (situation.answered, situation.names) {
        (false, _) | (true, Names::Unknown) if situation.running >= policy.give_up => Role::Failed,
        (false, _) | (true, Names::Unknown) => Role::Booting,
        (true, Names::Here) => Role::Owner,
        (true, Names::Elsewhere { held: false, .. }) => Role::Standby,
        (true, Names::Elsewhere { since, .. }) if policy.then == Then::StandBy && since >= lingered(policy, ttl) => {
            Role::Standby
        }
        (true, Names::Elsewhere { .. }) => Role::Superseded,
    }
}

/// Two times to live: until then resolvers that keep to it still send visitors.
fn manner(policy: &Succession, ttl: Duration, role: Role, names: Names) -> Manner {
    match (role, names) {
        (Role::Superseded, Names::Elsewhere { since, .. })
            if since >= ttl * 2 && (policy.then == Then::Retire || since < lingered(policy, ttl)) =>
        {
            Manner::Linger
        }
        _ => Manner::Serve,
    }
}

fn lingered(policy: &Succession, ttl: Duration) -> Duration {
    ttl * 2 + policy.linger
}

fn step(policy: &Succession, ttl: Duration, role: Role, situation: &Situation) -> Option<Step> {
    let crew = situation.crew.filter(|crew| crew.settled)?;
    match (role, situation.names) {
        // That nobody says where the names lead is not the host's fault, and the next one would know no more.
        (Role::Failed, _) => {
            let replaced = !situation.answered && Some(crew.target) == crew.floor;
            leave(&crew).or(replaced.then_some(Step::BeReplaced))
        }
        (Role::Superseded | Role::Standby, Names::Elsewhere { since, answers: true, .. })
            if policy.then == Then::Retire && since >= lingered(policy, ttl) =>
        {
            leave(&crew)
        }
        (Role::Booting | Role::Owner | Role::Standby, _) if situation.owes => give_back(&crew),
        (Role::Owner, _) if situation.overdue => dismiss(&crew),
        (Role::Owner, _) if situation.recommended && policy.rebalance => (Some(crew.target) == crew.floor
            && crew.members <= crew.target)
            .then_some(Step::AskEarly { to: crew.target + 1 }),
        _ => None,
    }
}

/// Never below what the fleet has at rest; and a fleet that replaces whoever leaves is not left.
fn leave(crew: &Crew) -> Option<Step> {
    let floor = crew.floor?;
    match (crew.target > floor, crew.leaves_in_one) {
        (true, false) => Some(Step::Lower { to: crew.target - 1 }),
        _ => crew.spares_one().then_some(Step::Leave),
    }
}

/// As a host leaves by itself, so it is ended by another.
fn dismiss(crew: &Crew) -> Option<Step> {
    match leave(crew)? {
        Step::Lower { to } => Some(Step::Dismiss { to: Some(to) }),
        _ => Some(Step::Dismiss { to: None }),
    }
}

/// An Auto Scaling group whose target is lowered ends a host of its own choice, be it one that has come since the look: a host
/// that goes gives its own place back there, and what is left too many leaves like any other.
fn give_back(crew: &Crew) -> Option<Step> {
    let to = crew.target.checked_sub(1)?;
    (to >= crew.floor? && !crew.leaves_in_one).then_some(Step::GiveBack { to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn policy(then: Then) -> Succession {
        Succession { then, linger: Duration::from_secs(900), rebalance: true, ..Succession::default() }
    }

    fn quiet() -> Situation {
        Situation {
            running: Duration::from_secs(60),
            answered: true,
            names: Names::Here,
            crew: Some(crew(1, 1)),
            owes: false,
            recommended: false,
            overdue: false,
        }
    }

    fn crew(target: u32, members: u32) -> Crew {
        Crew { target, members, settled: true, floor: Some(1), leaves_in_one: false }
    }

    fn aside(seconds: u64, held: bool, answers: bool) -> Names {
        Names::Elsewhere { since: Duration::from_secs(seconds), held, answers }
    }

    #[test]
    fn role_and_manner_follow_from_where_the_names_lead_and_since_when() {
        let (retire, stand_by) = (policy(Then::Retire), policy(Then::StandBy));
        let (serve, linger) = (Manner::Serve, Manner::Linger);
        let table = [
            ("names here", &retire, Names::Here, Role::Owner, serve),
            ("not looked yet", &retire, Names::Unknown, Role::Booting, serve),
            ("just superseded", &retire, aside(0, true, true), Role::Superseded, serve),
            ("before two times to live", &retire, aside(119, true, true), Role::Superseded, serve),
            ("after two", &retire, aside(120, true, true), Role::Superseded, linger),
            ("long after, retiring", &retire, aside(9_000, true, true), Role::Superseded, linger),
            ("still lingering", &stand_by, aside(1_019, true, true), Role::Superseded, linger),
            ("lingered", &stand_by, aside(1_020, true, true), Role::Standby, serve),
            ("never held", &retire, aside(9_000, false, true), Role::Standby, serve),
        ];
        for (what, policy, names, role, manner) in table {
            let course = course(policy, TTL, &Situation { names, ..quiet() });
            assert_eq!((course.role, course.manner), (role, manner), "{what}");
        }
    }

    #[test]
    fn superseded_host_leaves_only_what_can_spare_it() {
        let late = |answers| Situation { names: aside(1_020, true, answers), ..quiet() };
        let with = |crew| Situation { crew, ..late(true) };
        let group = |target, members| Crew { leaves_in_one: true, ..crew(target, members) };
        let table = [
            ("release: target first", with(Some(crew(2, 2))), Some(Step::Lower { to: 1 })),
            ("then itself", with(Some(crew(1, 2))), Some(Step::Leave)),
            ("not while the fleet changes", with(Some(Crew { settled: false, ..crew(1, 2) })), None),
            ("not below the target", with(Some(crew(1, 1))), None),
            ("not below what it has at rest", with(Some(Crew { floor: Some(2), ..crew(2, 2) })), None),
            ("not where that is unknown", with(Some(Crew { floor: None, ..crew(2, 2) })), None),
            ("not without a fleet", with(None), None),
            ("group: both in one", with(Some(group(2, 2))), Some(Step::Leave)),
            ("group: never replaced", with(Some(group(1, 2))), None),
            ("group: not the only one that is there", with(Some(group(2, 1))), None),
            ("not when the owner is silent", Situation { crew: Some(crew(2, 2)), ..late(false) }, None),
            (
                "not while visitors come",
                Situation { names: aside(1_019, true, true), crew: Some(crew(2, 2)), ..quiet() },
                None,
            ),
        ];
        for (what, situation, expected) in table {
            assert_eq!(course(&policy(Then::Retire), TTL, &situation).step, expected, "{what}");
        }
        assert_eq!(course(&policy(Then::StandBy), TTL, &with(Some(crew(2, 2)))).step, None, "a spare stays");
    }

    #[test]
    fn host_that_never_answers_fails_and_leaves_or_is_replaced() {
        let long = Situation { running: Duration::from_secs(100_000), answered: false, ..quiet() };
        let table = [
            (Some(crew(2, 2)), Some(Step::Lower { to: 1 })),
            (Some(crew(1, 2)), Some(Step::Leave)),
            (Some(crew(1, 1)), Some(Step::BeReplaced)),
            (Some(Crew { floor: None, ..crew(1, 1) }), None),
            (None, None),
        ];
        for (crew, step) in table {
            let course = course(&policy(Then::Retire), TTL, &Situation { crew, ..long });
            assert_eq!((course.role, course.step), (Role::Failed, step), "{crew:?}");
        }
        // One that answers, and cannot learn where the names lead, leaves a fleet that can spare it; it is not replaced.
        let unled = |crew| Situation { answered: true, names: Names::Unknown, crew: Some(crew), ..long };
        for (crew, step) in [(crew(2, 2), Some(Step::Lower { to: 1 })), (crew(1, 1), None)] {
            let course = course(&policy(Then::Retire), TTL, &unled(crew));
            assert_eq!((course.role, course.step), (Role::Failed, step), "{crew:?}");
        }
        let soon = Situation { running: Duration::from_secs(1), ..long };
        let course = course(&policy(Then::Retire), TTL, &soon);
        assert_eq!((course.role, course.step), (Role::Booting, None));
    }

    #[test]
    fn place_that_a_departing_host_asked_for_is_given_back_once() {
        let owing = |crew| Situation { owes: true, crew: Some(crew), ..quiet() };
        let group = |members| Crew { leaves_in_one: true, ..crew(2, members) };
        let table = [
            (owing(crew(2, 2)), Some(Step::GiveBack { to: 1 })),
            (owing(crew(1, 2)), None),
            (owing(crew(1, 1)), None),
            (owing(group(2)), None),
            (owing(group(1)), None),
        ];
        for (situation, expected) in table {
            assert_eq!(course(&policy(Then::Retire), TTL, &situation).step, expected, "{situation:?}");
        }
    }

    #[test]
    fn host_that_never_answers_is_ended_by_the_owner_where_the_fleet_can_spare_it() {
        let overdue = |crew| Situation { overdue: true, crew: Some(crew), ..quiet() };
        let group = |target, members| Crew { leaves_in_one: true, ..crew(target, members) };
        let table = [
            (overdue(crew(2, 2)), Some(Step::Dismiss { to: Some(1) })),
            (overdue(crew(1, 2)), Some(Step::Dismiss { to: None })),
            (overdue(crew(1, 1)), None),
            (overdue(Crew { floor: Some(2), ..crew(2, 2) }), None),
            (overdue(Crew { floor: None, ..crew(2, 2) }), None),
            (overdue(Crew { settled: false, ..crew(2, 2) }), None),
            (overdue(group(2, 2)), Some(Step::Dismiss { to: None })),
            (overdue(group(1, 2)), None),
            (Situation { names: aside(1, false, true), ..overdue(crew(2, 2)) }, None),
        ];
        for (situation, expected) in table {
            assert_eq!(course(&policy(Then::Retire), TTL, &situation).step, expected, "{situation:?}");
        }
    }

    #[test]
    fn recommendation_asks_for_one_successor_and_only_where_that_is_the_policy() {
        let recommended = |crew| Situation { recommended: true, crew: Some(crew), ..quiet() };
        let policy = policy(Then::Retire);
        let asks = Some(Step::AskEarly { to: 2 });
        assert_eq!(course(&policy, TTL, &recommended(crew(1, 1))).step, asks);
        assert_eq!(course(&policy, TTL, &recommended(crew(2, 1))).step, None, "one is on its way");
        assert_eq!(course(&policy, TTL, &recommended(crew(1, 2))).step, None, "one is here");
        let ignoring = Succession { rebalance: false, ..policy };
        assert_eq!(course(&ignoring, TTL, &recommended(crew(1, 1))).step, None);
        let standby = Situation { names: aside(1, false, true), ..recommended(crew(1, 1)) };
        assert_eq!(course(&policy, TTL, &standby).step, None, "it holds nothing that needs one");
    }
}
