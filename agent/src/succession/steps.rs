//! What a host asks and does about its place in the succession, request by request.
//!
//! [`Looking`], [`Correcting`] and [`HandingOver`] say which request is next, and take its outcome. They do nothing by
//! themselves, so that the same code runs against AWS (`succession.rs`) and against a simulated world on virtual time
//! (`model.rs`). What a host remembers from one of them to the next is its [`Memory`].

use std::{net::IpAddr, time::Duration};

use crate::{
    aws::FleetState,
    claim::{Claim, Routing},
    config::{Succession as Policy, Then},
    fault::Fault,
    place::Location,
};

use super::{
    decision::{Decision, DecisionInputs, Names, decide},
    newcomers::Newcomers,
};

mod correcting;
mod handing_over;
mod looking;

pub(super) use correcting::Correcting;
pub(super) use handing_over::HandingOver;
pub(super) use looking::Looking;

/// How often the owner looks who else is in its fleet, at most.
const NEWCOMERS: Duration = Duration::from_secs(300);

/// Something to be asked or done outside the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Read the claim as it stands: [`RequestOutcome::Claim`].
    ReadClaim,
    /// Look at the fleet: [`RequestOutcome::Fleet`].
    LookAtFleet,
    /// List the other hosts that the fleet counts: [`RequestOutcome::Others`].
    ListOthers,
    /// Ask at that address for the site: [`RequestOutcome::Answers`].
    AskAt(IpAddr),
    /// Ask the host of that claim for the site, where people who are led to it come: [`RequestOutcome::Answers`].
    AskClaimant(Box<Claim>),
    /// Take the turn to leave the fleet, which one host has at a time: [`RequestOutcome::Done`].
    TakeTurn,
    /// Take the turn to ask for a successor early, which there is once an hour: [`RequestOutcome::Done`].
    TakeEarlyTurn,
    /// Spend one of so many replacements a day: [`RequestOutcome::Done`].
    SpendReplacement(u32),
    /// Set the target of the fleet: [`RequestOutcome::Done`].
    SetTarget(u32),
    /// Wait until the fleet has carried out its last change: [`RequestOutcome::Fleet`].
    Settle,
    /// End that other host of the fleet: [`RequestOutcome::Done`].
    Dismiss(String),
    /// End this host: [`RequestOutcome::Done`].
    End {
        /// Whether the fleet is to replace it.
        replaced: bool,
    },
    /// Say in the claim that this host goes, and whether the fleet, which had that target before, was asked for a successor:
    /// [`RequestOutcome::Done`].
    SayDeparting {
        /// The target before; none where it was not asked.
        asked: Option<u32>,
    },
    /// Remove the records that lead here, shortly before the end: [`RequestOutcome::Done`].
    RemoveRecords,
    /// Wait until visitors have gone: [`RequestOutcome::Done`].
    Drain,
}

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum RequestOutcome {
    /// It is done.
    Done,
    /// The claim; none where there is none.
    Claim(Option<Claim>),
    /// The fleet; none without one.
    Fleet(Option<FleetState>),
    /// Instances and their public addresses.
    Others(Vec<(String, Option<IpAddr>)>),
    /// Whether the site was served.
    Answers(bool),
    /// It failed.
    Failed(Fault),
}

/// A procedure, one request after the other.
pub(super) trait Steps {
    /// The request that is next, to be made at once; none when the procedure is over.
    ///
    /// # Errors
    /// Where what the request rests on is not so any more.
    fn next(&self, context: &Context<'_>) -> Result<Option<Request>, Fault>;

    /// Takes the outcome of the request.
    ///
    /// # Errors
    /// Why the procedure cannot go on.
    fn came(&mut self, outcome: RequestOutcome, context: &mut Context<'_>) -> Result<(), Fault>;
}

/// The facts that a host knows without asking, at this moment.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Where the names lead.
    pub leads: Option<Routing>,
    /// Whether this host answers for the domain.
    pub answers: bool,
    /// Whether it has a public address, without which the address keeper does not look.
    pub placed: bool,
    /// Whether EC2 recommends to move to another instance.
    pub recommended: bool,
    /// The id of its instance.
    pub instance: Option<String>,
    /// Where it is.
    pub location: Option<Location>,
    /// Whether it is known to have no fleet.
    pub fleetless: bool,
    /// How many hosts the fleet has at rest, as configured.
    pub at_rest: Option<u32>,
}

impl Watched {
    /// How many hosts the fleet has at rest: as configured, else as `claimed`.
    fn floor(&self, claimed: Option<u32>) -> Option<u32> {
        self.at_rest.or(claimed)
    }
}

/// The inputs of a procedure: the host's memory, the watched facts, and the time.
pub(super) struct Context<'a> {
    /// What the host remembers.
    pub memory: &'a mut Memory,
    /// What it knows.
    pub watched: &'a Watched,
    /// The time of a clock that only ever runs forward.
    pub now: Duration,
}

/// How a host is to follow and be followed.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// As configured.
    pub policy: Policy,
    /// The time to live of the records.
    pub ttl: Duration,
    /// Whether people are led to every host, so that none follows another.
    pub of_many: bool,
}

/// A host's memory of the succession.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) rules: Rules,
    /// When the process began.
    pub(super) begun: Duration,
    /// Since when the names lead elsewhere.
    aside: Option<Duration>,
    /// The claim, as a host has to read it that has no business with the names yet.
    claim: Option<Claim>,
    /// The other hosts of the fleet, as their owner sees them.
    newcomers: Newcomers,
    /// When they were last looked at.
    looked_at_newcomers: Option<Duration>,
    /// The epoch of the claim in which a host asked for a successor whose place was given back.
    given_back: Option<u64>,
}

impl Memory {
    /// That of a process which begins then.
    pub(super) fn new(rules: Rules, begun: Duration) -> Memory {
        Memory {
            rules,
            begun,
            aside: None,
            claim: None,
            newcomers: Newcomers::default(),
            looked_at_newcomers: None,
            given_back: None,
        }
    }

    /// What a host that sees `inputs` is and does. One without a fleet has nothing to leave: it stands by.
    pub(super) fn decide(&self, fleetless: bool, inputs: &DecisionInputs) -> Decision {
        let Rules { policy, ttl, .. } = &self.rules;
        if fleetless {
            return decide(&Policy { then: Then::StandBy, ..policy.clone() }, *ttl, inputs);
        }
        decide(policy, *ttl, inputs)
    }

    fn running(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }

    /// The inputs of a decision that need no request.
    fn inputs(&mut self, watched: &Watched, now: Duration) -> DecisionInputs {
        DecisionInputs {
            running: self.running(now),
            answered: watched.answers,
            names: self.names(watched, now),
            fleet: None,
            owes: false,
            recommended: watched.recommended,
            overdue: self.overdue(now).is_some(),
        }
    }

    fn names(&mut self, watched: &Watched, now: Duration) -> Names {
        match &watched.leads {
            None => Names::Unknown,
            Some(Routing::Here(_)) => {
                self.aside = None;
                Names::Here
            }
            Some(Routing::Elsewhere(other)) => {
                let since = now.saturating_sub(*self.aside.get_or_insert(now));
                Names::Elsewhere { since, held: other.held, answers: other.answers }
            }
        }
    }

    /// In which epoch a host asked for a successor, and how many hosts the fleet has at rest.
    fn claimed(&self, watched: &Watched) -> (Option<u64>, Option<u32>) {
        let here = watched.location.as_ref();
        let of = |claim: &Claim| (claim.asked_in(here), claim.target_in(here));
        match &watched.leads {
            Some(Routing::Here(here)) => (here.asked_in, here.target),
            Some(Routing::Elsewhere(other)) => of(&other.claim),
            None => self.claim.as_ref().map(of).unwrap_or_default(),
        }
    }

    fn newcomers_are_due(&self, watched: &Watched, now: Duration) -> bool {
        let pause = (self.rules.policy.give_up / 10).min(NEWCOMERS);
        !watched.fleetless && self.looked_at_newcomers.is_none_or(|at| now.saturating_sub(at) >= pause)
    }

    /// A host that has had twice the time after which it should have left by itself.
    fn overdue(&self, now: Duration) -> Option<&str> {
        self.newcomers.overdue(self.rules.policy.give_up * 2, self.running(now))
    }

    /// Whether `fleet` can do with one host less; it has as many at rest as was just `claimed`, or is known.
    fn spares_one(&self, fleet: Option<FleetState>, watched: &Watched, claimed: Option<u32>) -> bool {
        let floor = watched.floor(claimed.or(self.claimed(watched).1));
        fleet.is_none_or(|seen| FleetState { floor, ..seen }.spares_one())
    }
}

/// What a request failed with, or that it came to something that it cannot come to.
fn unexpected(doing: &str, outcome: RequestOutcome) -> Fault {
    match outcome {
        RequestOutcome::Failed(fault) => fault,
        other => Fault::retry(doing, format!("internal error: unexpected outcome of a request: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::host::tests::host,
        claim::{RoutedElsewhere, RoutedHere},
        succession::decision::FleetAction,
    };

    fn memory() -> Memory {
        let rules = Rules { policy: Policy::default(), ttl: Duration::from_secs(60), of_many: false };
        Memory::new(rules, Duration::ZERO)
    }

    fn watched(leads: Option<Routing>) -> Watched {
        Watched {
            leads,
            answers: true,
            placed: true,
            recommended: false,
            instance: Some("i-me".to_owned()),
            location: host("i-me", 1).location(),
            fleetless: false,
            at_rest: None,
        }
    }

    fn here(target: Option<u32>) -> Option<Routing> {
        Some(Routing::Here(RoutedHere { to: "192.0.2.7".into(), epoch: 3, target, asked_in: None }))
    }

    fn claim() -> Claim {
        Claim { target: Some(1), ..Claim::of(&host("i-owner", 2), 4) }
    }

    fn elsewhere() -> Option<Routing> {
        Some(Routing::Elsewhere(Box::new(RoutedElsewhere { claim: claim(), held: true, answers: true })))
    }

    fn fleet(target: u32, members: u32) -> FleetState {
        FleetState { target, members, settled: true, floor: None, leaves_in_one: false }
    }

    /// Goes through `steps` as `script` says, one request a second; how it ended.
    fn walk(
        steps: &mut impl Steps,
        watched: &Watched,
        script: Vec<(Request, RequestOutcome)>,
    ) -> Result<Option<Request>, Fault> {
        let mut memory = memory();
        let mut now = 0;
        for (expected, outcome) in script {
            assert_eq!(steps.next(&at(now, &mut memory, watched))?, Some(expected));
            now += 1;
            steps.came(outcome, &mut at(now, &mut memory, watched))?;
        }
        steps.next(&at(now, &mut memory, watched))
    }

    fn at<'a>(second: u64, memory: &'a mut Memory, watched: &'a Watched) -> Context<'a> {
        Context { memory, watched, now: Duration::from_secs(second) }
    }

    /// A host that leaves, up to where it makes sure of that for the last time.
    fn leaves() -> Vec<(Request, RequestOutcome)> {
        vec![
            (Request::TakeTurn, RequestOutcome::Done),
            (Request::SetTarget(1), RequestOutcome::Done),
            (Request::Settle, RequestOutcome::Fleet(Some(fleet(1, 2)))),
            (Request::ReadClaim, RequestOutcome::Claim(Some(claim()))),
            (Request::AskClaimant(Box::new(claim())), RequestOutcome::Answers(true)),
            (Request::LookAtFleet, RequestOutcome::Fleet(Some(fleet(1, 2)))),
        ]
    }

    #[test]
    fn host_leaves_after_the_owner_has_answered_and_the_fleet_spares_it() {
        let mut steps = Correcting::new(FleetAction::Lower { to: 1 });
        let end = (Request::End { replaced: false }, RequestOutcome::Done);
        let script = leaves().into_iter().chain([end]).collect();
        assert_eq!(walk(&mut steps, &watched(elsewhere()), script), Ok(None));
        assert!(steps.has_left());
    }

    #[test]
    fn host_stays_as_soon_as_something_speaks_against_leaving() {
        let mine = Claim { instance: "i-me".to_owned(), ..claim() };
        let goes = Claim { departing: true, ..claim() };
        let table = [
            (3, RequestOutcome::Claim(Some(mine)), "the names lead here again"),
            (3, RequestOutcome::Claim(Some(goes)), "i-owner says that it is leaving"),
            (4, RequestOutcome::Answers(false), "i-owner does not answer any more"),
            (5, RequestOutcome::Fleet(Some(fleet(1, 1))), "the fleet needs this host by now"),
            (1, RequestOutcome::Failed(Fault::retry("setting the target", "it is modified")), "it is modified"),
        ];
        for (row, outcome, said) in table {
            let mut script = leaves();
            script.truncate(row + 1);
            script[row].1 = outcome;
            let mut steps = Correcting::new(FleetAction::Lower { to: 1 });
            let fault = walk(&mut steps, &watched(elsewhere()), script).expect_err(said);
            assert_eq!((fault.said.as_str(), steps.has_left()), (said, false));
        }
        let back = walk(
            &mut Correcting::new(FleetAction::Leave),
            &watched(here(None)),
            leaves()[..1].iter().map(again).collect(),
        );
        assert_eq!(back.expect_err("it has the names").said, "the names lead here again");
    }

    fn again((request, _): &(Request, RequestOutcome)) -> (Request, RequestOutcome) {
        (request.clone(), RequestOutcome::Done)
    }

    /// Names that it could not take for long, as while Route 53 is away, may lead to a host that is gone.
    #[test]
    fn host_that_could_not_take_the_names_asks_for_their_owner_if_it_answers_itself() {
        let answers = watched(None);
        let silent = Watched { answers: false, ..watched(None) };
        let turn = || (Request::TakeTurn, RequestOutcome::Done);
        let next = |watched: &Watched, more: Vec<(Request, RequestOutcome)>| {
            walk(&mut Correcting::new(FleetAction::Leave), watched, [turn()].into_iter().chain(more).collect())
        };
        assert_eq!(next(&answers, Vec::new()), Ok(Some(Request::ReadClaim)));
        assert_eq!(next(&silent, Vec::new()), Ok(Some(Request::LookAtFleet)), "visitors miss nothing");
        let gone = vec![
            (Request::ReadClaim, RequestOutcome::Claim(Some(claim()))),
            (Request::AskClaimant(Box::new(claim())), RequestOutcome::Answers(false)),
        ];
        assert_eq!(next(&answers, gone).expect_err("it stays").said, "i-owner does not answer any more");
        let nobody = vec![(Request::ReadClaim, RequestOutcome::Claim(None))];
        assert_eq!(next(&answers, nobody), Ok(Some(Request::LookAtFleet)));
        let unknown = vec![(Request::ReadClaim, RequestOutcome::Failed(Fault::retry("reading", "Route 53 is down")))];
        assert_eq!(next(&answers, unknown).expect_err("it stays").said, "Route 53 is down");
    }

    #[test]
    fn host_that_was_stopped_before_its_last_call_does_not_make_it() {
        let watched = watched(elsewhere());
        let mut memory = memory();
        let mut steps = Correcting::new(FleetAction::Lower { to: 1 });
        for (_, outcome) in leaves() {
            steps.came(outcome, &mut at(5, &mut memory, &watched)).expect("a request that went well");
        }
        let mut next = |now| steps.next(&at(now, &mut memory, &watched));
        assert_eq!(next(25), Ok(Some(Request::End { replaced: false })));
        assert_eq!(next(26).expect_err("too late").said, "the look that allowed it is too old by now");
    }

    #[test]
    fn taken_owner_asks_for_a_successor_once_and_says_that_it_goes_until_that_is_heard() {
        let watched = watched(here(Some(1)));
        let mut memory = memory();
        let mut steps = HandingOver::new(false, &at(0, &mut memory, &watched));
        let say = Request::SayDeparting { asked: Some(1) };
        let group = FleetState { leaves_in_one: true, ..fleet(2, 2) };
        let first = vec![
            (Request::LookAtFleet, RequestOutcome::Fleet(Some(fleet(1, 1)))),
            (Request::SetTarget(2), RequestOutcome::Done),
            (say.clone(), RequestOutcome::Failed(Fault::retry("saying so", "Route 53 is down"))),
        ];
        assert_eq!(walk(&mut steps, &watched, first).expect_err("it is tried again").said, "Route 53 is down");
        let then = vec![
            (say, RequestOutcome::Done),
            (Request::Drain, RequestOutcome::Done),
            (Request::LookAtFleet, RequestOutcome::Fleet(Some(group))),
            (Request::TakeTurn, RequestOutcome::Failed(Fault::retry("leaving the fleet", "it is the turn of i-other"))),
        ];
        assert_eq!(
            walk(&mut steps, &watched, then).expect_err("it is asked for again").said,
            "it is the turn of i-other"
        );
        // Whether the other one has left meanwhile is looked at once it is this host's turn.
        for (target, end) in [(2, vec![(Request::End { replaced: false }, RequestOutcome::Done)]), (1, Vec::new())] {
            let group = FleetState { leaves_in_one: true, ..fleet(target, 2) };
            let mut in_turn = vec![
                (Request::TakeTurn, RequestOutcome::Done),
                (Request::LookAtFleet, RequestOutcome::Fleet(Some(group))),
            ];
            in_turn.extend(end);
            assert_eq!(walk(&mut steps.clone(), &watched, in_turn), Ok(None), "a target of {target}");
        }
    }

    #[test]
    fn taken_host_that_the_names_do_not_lead_to_hands_nothing_over() {
        let watched = watched(elsewhere());
        let mut memory = memory();
        let mut steps = HandingOver::new(true, &at(0, &mut memory, &watched));
        assert_eq!(walk(&mut steps, &watched, Vec::new()), Ok(None));
    }
}
