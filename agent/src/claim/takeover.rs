//! Who may take the names. Pure: the claim and the claimant's liveness go in, a right comes out.
//!
//! The order of launches decides between hosts that are well, and it decides once: a host that was passed over while
//! it was silent does not take the names back by being the younger one.

use std::cmp::Ordering;

use super::Claim;
use crate::{
    aws::{Host, InstanceState},
    place::Location,
};

/// How the host stands that claims the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It lives, or may: then it keeps its claim.
    Lives,
    /// It is gone, or it has been silent for longer than a reboot takes.
    Gone,
}

/// How the claimant stands. Who answers as itself is never gone, whatever EC2 tells; of one that does not answer, EC2's word
/// counts before silence is long. `told` is that of an EC2 which could know it ([`could_know`]).
pub fn liveness(answers: bool, told: InstanceState, silent_for_long: bool) -> Liveness {
    match (answers, told) {
        (true, _) => Liveness::Lives,
        (false, InstanceState::Ended) => Liveness::Gone,
        (false, InstanceState::Runs | InstanceState::Unknown) if silent_for_long => Liveness::Gone,
        (false, InstanceState::Runs | InstanceState::Unknown) => Liveness::Lives,
    }
}

/// Whether the EC2 of that region and account could know the claimant: then its word counts. A claim that does not say where
/// it is from may be of there.
pub fn could_know(ec2: Option<&Location>, claim: &Claim) -> bool {
    is_instance_id(&claim.instance) && claim.may_be_in(ec2)
}

/// Whether that is the id of an EC2 instance: `i-` and hexadecimal digits.
pub fn is_instance_id(id: &str) -> bool {
    id.strip_prefix("i-")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The right of a host over the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// They are its own.
    Hold,
    /// It may take them.
    Take(TakeoverReason),
    /// They are another's.
    StandAside,
}

/// Why the names may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverReason {
    /// No host claims them.
    Unclaimed,
    /// The claimant was launched before.
    Younger,
    /// The claimant says that it goes.
    Departing,
    /// The claimant can only say yet that it waits for its certificate.
    Waiting,
    /// The claimant is gone.
    Gone,
}

/// The right of `host` over the names, given their claim and the liveness of its host. `put_aside` says that this host once
/// held them, and that another has followed since.
pub fn takeover(host: &Host, put_aside: bool, claim: Option<&Claim>, claimant: Liveness) -> Takeover {
    let Some(claim) = claim else { return Takeover::Take(TakeoverReason::Unclaimed) };
    if claim.instance == host.instance {
        return Takeover::Hold;
    }
    if claim.departing {
        return Takeover::Take(TakeoverReason::Departing);
    }
    if claimant == Liveness::Gone {
        return Takeover::Take(TakeoverReason::Gone);
    }
    if claim.waiting {
        return Takeover::Take(TakeoverReason::Waiting);
    }
    let passed_over = put_aside || claim.over.as_ref() == Some(&host.instance);
    match claim.launched_against(host) {
        Ordering::Less if !passed_over => Takeover::Take(TakeoverReason::Younger),
        _ => Takeover::StandAside,
    }
}

/// What `host` may do as long as it has no certificate, and can only say that it waits for one: nothing that would lead
/// visitors away from a host that lives, whatever it says of itself.
pub fn takeover_without_certificate(host: &Host, claim: Option<&Claim>, claimant: Liveness) -> Takeover {
    match claim {
        None => Takeover::Take(TakeoverReason::Unclaimed),
        Some(claim) if claim.instance == host.instance => Takeover::Hold,
        Some(_) if claimant == Liveness::Gone => Takeover::Take(TakeoverReason::Gone),
        Some(_) => Takeover::StandAside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::host::tests::host;

    fn claimed(instance: &str, minute: i64) -> Claim {
        Claim::of(&host(instance, minute), 3)
    }

    #[test]
    fn who_answers_lives_and_of_others_only_the_word_of_an_ec2_that_knows_them_counts_before_silence() {
        let table = [
            (true, InstanceState::Runs, false, Liveness::Lives),
            (true, InstanceState::Unknown, true, Liveness::Lives),
            (true, InstanceState::Ended, false, Liveness::Lives),
            (true, InstanceState::Ended, true, Liveness::Lives),
            (false, InstanceState::Ended, false, Liveness::Gone),
            (false, InstanceState::Unknown, false, Liveness::Lives),
            (false, InstanceState::Unknown, true, Liveness::Gone),
            (false, InstanceState::Runs, false, Liveness::Lives),
            // It hangs, or is cut from its visitors.
            (false, InstanceState::Runs, true, Liveness::Gone),
        ];
        for (answers, told, silent, expected) in table {
            assert_eq!(liveness(answers, told, silent), expected, "answers: {answers}, {told:?}, silent: {silent}");
        }
    }

    #[test]
    fn only_the_ec2_of_the_claimants_region_and_account_could_know_it() {
        let at = |region: &str, account: &str| Location::new(region, account).expect("a location");
        let here = at("eu-central-1", "123456789012");
        let of = |instance: &str, location: Option<Location>| Claim { location, ..claimed(instance, 1) };
        let table = [
            ("here", of("i-0a", Some(here.clone())), true),
            ("an older program: it may be of here", of("i-0a", None), true),
            ("another region", of("i-0a", Some(at("us-east-1", "123456789012"))), false),
            ("another account", of("i-0a", Some(at("eu-central-1", "999999999999"))), false),
            ("another cloud", of("vm-7f3a", None), false),
            ("a laptop", of("laptop", None), false),
            ("nearly an id", of("i-", None), false),
        ];
        for (what, claim, expected) in table {
            assert_eq!(could_know(Some(&here), &claim), expected, "{what}");
        }
        assert!(
            could_know(None, &of("i-0a", Some(here))),
            "this host does not know where it is: EC2 is asked, and may know"
        );
    }

    #[test]
    fn right_follows_from_the_claim_and_from_how_the_claimant_stands() {
        let departing = |claim: Claim| Claim { departing: true, ..claim };
        let waiting = |claim: Claim| Claim { waiting: true, ..claim };
        let over = |claim: Claim, whom: &str| Claim { over: Some(whom.to_owned()), ..claim };
        let lives = Liveness::Lives;
        let gone = Liveness::Gone;
        let table = [
            ("nobody claims", None, false, lives, Takeover::Take(TakeoverReason::Unclaimed)),
            ("mine", Some(claimed("i-me", 5)), false, lives, Takeover::Hold),
            ("mine, departing", Some(departing(claimed("i-me", 5))), false, lives, Takeover::Hold),
            ("older", Some(claimed("i-a", 1)), false, lives, Takeover::Take(TakeoverReason::Younger)),
            ("younger", Some(claimed("i-a", 9)), false, lives, Takeover::StandAside),
            ("younger, gone", Some(claimed("i-a", 9)), false, gone, Takeover::Take(TakeoverReason::Gone)),
            (
                "younger, departing",
                Some(departing(claimed("i-a", 9))),
                false,
                lives,
                Takeover::Take(TakeoverReason::Departing),
            ),
            (
                "younger, waiting",
                Some(waiting(claimed("i-a", 9))),
                false,
                lives,
                Takeover::Take(TakeoverReason::Waiting),
            ),
            (
                "younger, waiting, after me",
                Some(waiting(claimed("i-a", 9))),
                true,
                lives,
                Takeover::Take(TakeoverReason::Waiting),
            ),
            (
                "younger, waiting, gone",
                Some(waiting(claimed("i-a", 9))),
                false,
                gone,
                Takeover::Take(TakeoverReason::Gone),
            ),
            (
                "launched with me, smaller id",
                Some(claimed("i-a", 5)),
                false,
                lives,
                Takeover::Take(TakeoverReason::Younger),
            ),
            ("launched with me, greater id", Some(claimed("i-z", 5)), false, lives, Takeover::StandAside),
            ("older, over me", Some(over(claimed("i-a", 1), "i-me")), false, lives, Takeover::StandAside),
            (
                "older, over another",
                Some(over(claimed("i-a", 1), "i-b")),
                false,
                lives,
                Takeover::Take(TakeoverReason::Younger),
            ),
            ("older, after me", Some(claimed("i-a", 1)), true, lives, Takeover::StandAside),
            (
                "older, over me, gone",
                Some(over(claimed("i-a", 1), "i-me")),
                true,
                gone,
                Takeover::Take(TakeoverReason::Gone),
            ),
            (
                "older, after me, departing",
                Some(departing(claimed("i-a", 1))),
                true,
                lives,
                Takeover::Take(TakeoverReason::Departing),
            ),
        ];
        for (what, claim, put_aside, claimant, expected) in table {
            assert_eq!(takeover(&host("i-me", 5), put_aside, claim.as_ref(), claimant), expected, "{what}");
        }
    }

    #[test]
    fn host_without_certificate_takes_only_what_nobody_else_who_lives_has() {
        let departing = Claim { departing: true, ..claimed("i-a", 1) };
        let waiting = Claim { waiting: true, ..claimed("i-a", 1) };
        let lives = Liveness::Lives;
        let gone = Liveness::Gone;
        let table = [
            ("nobody claims", None, lives, Takeover::Take(TakeoverReason::Unclaimed)),
            ("mine", Some(claimed("i-me", 5)), lives, Takeover::Hold),
            ("older", Some(claimed("i-a", 1)), lives, Takeover::StandAside),
            ("younger", Some(claimed("i-a", 9)), lives, Takeover::StandAside),
            ("departing: it still serves", Some(departing.clone()), lives, Takeover::StandAside),
            ("waiting like me", Some(waiting), lives, Takeover::StandAside),
            ("gone", Some(claimed("i-a", 9)), gone, Takeover::Take(TakeoverReason::Gone)),
            ("departing, gone", Some(departing), gone, Takeover::Take(TakeoverReason::Gone)),
        ];
        for (what, claim, claimant, expected) in table {
            assert_eq!(takeover_without_certificate(&host("i-me", 5), claim.as_ref(), claimant), expected, "{what}");
        }
    }
}
