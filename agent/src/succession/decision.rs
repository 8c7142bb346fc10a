//! The role of a host in the succession, how it treats its visitors, and its next action. Pure.

use std::{fmt, time::Duration};

use crate::{
    aws::FleetState,
    config::{Succession, Then},
    status::Role,
};

/// How visitors are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficMode {
    /// As ever.
    #[default]
    Serve,
    /// They are answered, and told to come back on another connection: `Connection: close`, GOAWAY.
    Linger,
}

/// Where the names lead, as this host last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Not known yet.
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

/// All inputs of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionInputs {
    /// For how long the process has run.
    pub running: Duration,
    /// Whether this host has answered for the domain at least once.
    pub answered: bool,
    /// Where the names lead.
    pub names: Names,
    /// The fleet; none without one, or as long as it could not be looked at.
    pub fleet: Option<FleetState>,
    /// Whether a host that departs has asked for a successor that is to be given back.
    pub owes: bool,
    /// Whether EC2 recommends to move to another instance.
    pub recommended: bool,
    /// Whether another host of the fleet has been there for long, and has never answered.
    pub overdue: bool,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the host is.
    pub role: Role,
    /// How it treats visitors.
    pub traffic: TrafficMode,
    /// Its next action, if there is one.
    pub step: Option<FleetAction>,
}

/// The next action of a host on its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetAction {
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

impl fmt::Display for FleetAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FleetAction::Lower { to } => write!(f, "lowering the target of the fleet to {to}, to leave it"),
            FleetAction::GiveBack { to } => write!(f, "giving back the place that was asked for: a target of {to}"),
            FleetAction::AskEarly { to } => write!(f, "asking for a successor early: a target of {to}"),
            FleetAction::Dismiss { .. } => f.write_str("ending a host that has never answered"),
            FleetAction::Leave => f.write_str("leaving the fleet"),
            FleetAction::BeReplaced => f.write_str("ending, to be replaced by the fleet"),
        }
    }
}

/// What a host in that sees `inputs` is and does. `ttl` is the records' time to live.
pub fn decide(policy: &Succession, ttl: Duration, inputs: &DecisionInputs) -> Decision {
    let role = role(policy, ttl, inputs);
    Decision { role, traffic: traffic(policy, ttl, role, inputs.names), step: step(policy, ttl, role, inputs) }
}

fn role(policy: &Succession, ttl: Duration, inputs: &DecisionInputs) -> Role {
    match (inputs.answered, inputs.names) {
        (false, _) | (true, Names::Unknown) if inputs.running >= policy.give_up => Role::Failed,
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
fn traffic(policy: &Succession, ttl: Duration, role: Role, names: Names) -> TrafficMode {
    match (role, names) {
        (Role::Superseded, Names::Elsewhere { since, .. })
            if since >= ttl * 2 && (policy.then == Then::Retire || since < lingered(policy, ttl)) =>
        {
            TrafficMode::Linger
        }
        _ => TrafficMode::Serve,
    }
}

fn lingered(policy: &Succession, ttl: Duration) -> Duration {
    ttl * 2 + policy.linger
}

fn step(policy: &Succession, ttl: Duration, role: Role, inputs: &DecisionInputs) -> Option<FleetAction> {
    let fleet = inputs.fleet.filter(|fleet| fleet.settled)?;
    let owed = if inputs.owes { give_back(&fleet) } else { None };
    match (role, inputs.names) {
        // An unknown routing is not the host's fault, and its successor would know no more.
        (Role::Failed, _) => {
            let replaced = !inputs.answered && Some(fleet.target) == fleet.floor;
            leave(&fleet).or(replaced.then_some(FleetAction::BeReplaced))
        }
        (Role::Superseded | Role::Standby, Names::Elsewhere { since, answers: true, .. })
            if policy.then == Then::Retire && since >= lingered(policy, ttl) =>
        {
            leave(&fleet)
        }
        // A place that cannot be given back, as in a group, or is none any more, keeps the owner from nothing else.
        (Role::Booting | Role::Owner | Role::Standby, _) if owed.is_some() => owed,
        (Role::Owner, _) if inputs.overdue => dismiss(&fleet),
        (Role::Owner, _) if inputs.recommended && policy.rebalance => (Some(fleet.target) == fleet.floor
            && fleet.members <= fleet.target)
            .then_some(FleetAction::AskEarly { to: fleet.target + 1 }),
        _ => None,
    }
}

/// Never below what the fleet has at rest; and a host never leaves a fleet that would replace it.
fn leave(fleet: &FleetState) -> Option<FleetAction> {
    let floor = fleet.floor?;
    match (fleet.target > floor, fleet.leaves_in_one) {
        (true, false) => Some(FleetAction::Lower { to: fleet.target - 1 }),
        _ => fleet.spares_one().then_some(FleetAction::Leave),
    }
}

/// As a host leaves by itself, so it is ended by another.
fn dismiss(fleet: &FleetState) -> Option<FleetAction> {
    match leave(fleet)? {
        FleetAction::Lower { to } => Some(FleetAction::Dismiss { to: Some(to) }),
        _ => Some(FleetAction::Dismiss { to: None }),
    }
}

/// An Auto Scaling group whose target is lowered ends a host of its own choice, be it one that has come since the look: a host
/// that goes gives its own place back there, and what is left too many leaves like any other.
fn give_back(fleet: &FleetState) -> Option<FleetAction> {
    let to = fleet.target.checked_sub(1)?;
    (to >= fleet.floor? && !fleet.leaves_in_one).then_some(FleetAction::GiveBack { to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn policy(then: Then) -> Succession {
        Succession { then, linger: Duration::from_secs(900), rebalance: true, ..Succession::default() }
    }

    fn quiet() -> DecisionInputs {
        DecisionInputs {
            running: Duration::from_secs(60),
            answered: true,
            names: Names::Here,
            fleet: Some(fleet(1, 1)),
            owes: false,
            recommended: false,
            overdue: false,
        }
    }

    fn fleet(target: u32, members: u32) -> FleetState {
        FleetState { target, members, settled: true, floor: Some(1), leaves_in_one: false }
    }

    fn aside(seconds: u64, held: bool, answers: bool) -> Names {
        Names::Elsewhere { since: Duration::from_secs(seconds), held, answers }
    }

    #[test]
    fn role_and_manner_follow_from_where_the_names_lead_and_since_when() {
        let retire = policy(Then::Retire);
        let stand_by = policy(Then::StandBy);
        let serve = TrafficMode::Serve;
        let linger = TrafficMode::Linger;
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
        for (what, policy, names, role, traffic) in table {
            let decision = decide(policy, TTL, &DecisionInputs { names, ..quiet() });
            assert_eq!((decision.role, decision.traffic), (role, traffic), "{what}");
        }
    }

    #[test]
    fn superseded_host_leaves_only_what_can_spare_it() {
        let late = |answers| DecisionInputs { names: aside(1_020, true, answers), ..quiet() };
        let with = |fleet| DecisionInputs { fleet, ..late(true) };
        let group = |target, members| FleetState { leaves_in_one: true, ..fleet(target, members) };
        let table = [
            ("release: target first", with(Some(fleet(2, 2))), Some(FleetAction::Lower { to: 1 })),
            ("then itself", with(Some(fleet(1, 2))), Some(FleetAction::Leave)),
            ("not while the fleet changes", with(Some(FleetState { settled: false, ..fleet(1, 2) })), None),
            ("not below the target", with(Some(fleet(1, 1))), None),
            ("not below what it has at rest", with(Some(FleetState { floor: Some(2), ..fleet(2, 2) })), None),
            ("not where that is unknown", with(Some(FleetState { floor: None, ..fleet(2, 2) })), None),
            ("not without a fleet", with(None), None),
            ("group: both in one", with(Some(group(2, 2))), Some(FleetAction::Leave)),
            ("group: never replaced", with(Some(group(1, 2))), None),
            ("group: not the only one that is there", with(Some(group(2, 1))), None),
            ("not when the owner is silent", DecisionInputs { fleet: Some(fleet(2, 2)), ..late(false) }, None),
            (
                "not while visitors come",
                DecisionInputs { names: aside(1_019, true, true), fleet: Some(fleet(2, 2)), ..quiet() },
                None,
            ),
        ];
        for (what, inputs, expected) in table {
            assert_eq!(decide(&policy(Then::Retire), TTL, &inputs).step, expected, "{what}");
        }
        assert_eq!(decide(&policy(Then::StandBy), TTL, &with(Some(fleet(2, 2)))).step, None, "a spare stays");
    }

    #[test]
    fn host_that_never_answers_fails_and_leaves_or_is_replaced() {
        let long = DecisionInputs { running: Duration::from_secs(100_000), answered: false, ..quiet() };
        let table = [
            (Some(fleet(2, 2)), Some(FleetAction::Lower { to: 1 })),
            (Some(fleet(1, 2)), Some(FleetAction::Leave)),
            (Some(fleet(1, 1)), Some(FleetAction::BeReplaced)),
            (Some(FleetState { floor: None, ..fleet(1, 1) }), None),
            (None, None),
        ];
        for (fleet, step) in table {
            let decision = decide(&policy(Then::Retire), TTL, &DecisionInputs { fleet, ..long });
            assert_eq!((decision.role, decision.step), (Role::Failed, step), "{fleet:?}");
        }
        // One that answers, and cannot learn where the names lead, leaves a fleet that can spare it; it is not replaced.
        let unled = |fleet| DecisionInputs { answered: true, names: Names::Unknown, fleet: Some(fleet), ..long };
        for (fleet, step) in [(fleet(2, 2), Some(FleetAction::Lower { to: 1 })), (fleet(1, 1), None)] {
            let decision = decide(&policy(Then::Retire), TTL, &unled(fleet));
            assert_eq!((decision.role, decision.step), (Role::Failed, step), "{fleet:?}");
        }
        let soon = DecisionInputs { running: Duration::from_secs(1), ..long };
        let decision = decide(&policy(Then::Retire), TTL, &soon);
        assert_eq!((decision.role, decision.step), (Role::Booting, None));
    }

    #[test]
    fn place_that_a_departing_host_asked_for_is_given_back_once() {
        let owing = |fleet| DecisionInputs { owes: true, fleet: Some(fleet), ..quiet() };
        let group = |members| FleetState { leaves_in_one: true, ..fleet(2, members) };
        let at_rest = FleetState { leaves_in_one: true, ..fleet(1, 1) };
        let table = [
            (owing(fleet(2, 2)), Some(FleetAction::GiveBack { to: 1 })),
            (owing(fleet(1, 2)), None),
            (owing(fleet(1, 1)), None),
            (owing(group(2)), None),
            (owing(group(1)), None),
            // Where it cannot be given back, the owner does what else there is to do.
            (DecisionInputs { overdue: true, ..owing(fleet(2, 2)) }, Some(FleetAction::GiveBack { to: 1 })),
            (DecisionInputs { overdue: true, ..owing(fleet(1, 2)) }, Some(FleetAction::Dismiss { to: None })),
            (DecisionInputs { overdue: true, ..owing(group(2)) }, Some(FleetAction::Dismiss { to: None })),
            (DecisionInputs { recommended: true, ..owing(at_rest) }, Some(FleetAction::AskEarly { to: 2 })),
        ];
        for (inputs, expected) in table {
            assert_eq!(decide(&policy(Then::Retire), TTL, &inputs).step, expected, "{inputs:?}");
        }
    }

    #[test]
    fn host_that_never_answers_is_ended_by_the_owner_where_the_fleet_can_spare_it() {
        let overdue = |fleet| DecisionInputs { overdue: true, fleet: Some(fleet), ..quiet() };
        let group = |target, members| FleetState { leaves_in_one: true, ..fleet(target, members) };
        let table = [
            (overdue(fleet(2, 2)), Some(FleetAction::Dismiss { to: Some(1) })),
            (overdue(fleet(1, 2)), Some(FleetAction::Dismiss { to: None })),
            (overdue(fleet(1, 1)), None),
            (overdue(FleetState { floor: Some(2), ..fleet(2, 2) }), None),
            (overdue(FleetState { floor: None, ..fleet(2, 2) }), None),
            (overdue(FleetState { settled: false, ..fleet(2, 2) }), None),
            (overdue(group(2, 2)), Some(FleetAction::Dismiss { to: None })),
            (overdue(group(1, 2)), None),
            (DecisionInputs { names: aside(1, false, true), ..overdue(fleet(2, 2)) }, None),
        ];
        for (inputs, expected) in table {
            assert_eq!(decide(&policy(Then::Retire), TTL, &inputs).step, expected, "{inputs:?}");
        }
    }

    #[test]
    fn recommendation_asks_for_one_successor_and_only_where_that_is_the_policy() {
        let recommended = |fleet| DecisionInputs { recommended: true, fleet: Some(fleet), ..quiet() };
        let policy = policy(Then::Retire);
        let asks = Some(FleetAction::AskEarly { to: 2 });
        assert_eq!(decide(&policy, TTL, &recommended(fleet(1, 1))).step, asks);
        assert_eq!(decide(&policy, TTL, &recommended(fleet(2, 1))).step, None, "one is on its way");
        assert_eq!(decide(&policy, TTL, &recommended(fleet(1, 2))).step, None, "one is here");
        let ignoring = Succession { rebalance: false, ..policy };
        assert_eq!(decide(&ignoring, TTL, &recommended(fleet(1, 1))).step, None);
        let standby = DecisionInputs { names: aside(1, false, true), ..recommended(fleet(1, 1)) };
        assert_eq!(decide(&policy, TTL, &standby).step, None, "it holds nothing that needs one");
    }
}
