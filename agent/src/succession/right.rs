//! Who may take the names. Pure: what is claimed and how the claimant stands go in, a right comes out.
//!
//! The order of launches decides between hosts that are well, and it decides once: a host that was passed over while
//! it was silent does not take the names back by being the younger one.

use std::cmp::Ordering;

use super::claim::Claim;
use crate::host::Host;

/// How the host stands that claims the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lives, or nobody can say: then it is left what it claims.
    Lives,
    /// It is gone, or it has been silent for longer than a reboot takes.
    Gone,
}

/// What a host may do with the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// They are its own.
    Hold,
    /// It may take them.
    Take(Ground),
    /// They are another's.
    StandAside,
}

/// Why the names may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Nobody claims them.
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

/// What `host` may do where the names are claimed so, by somebody who stands so. `put_aside` says that this host once
/// held them, and that another has followed since.
pub fn right(host: &Host, put_aside: bool, claim: Option<&Claim>, claimant: Standing) -> Right {
    let Some(claim) = claim else { return Right::Take(Ground::Unclaimed) };
    if claim.instance == host.instance {
        return Right::Hold;
    }
    if claim.departing {
        return Right::Take(Ground::Departing);
    }
    if claimant == Standing::Gone {
        return Right::Take(Ground::Gone);
    }
    if claim.waiting {
        return Right::Take(Ground::Waiting);
    }
    let passed_over = put_aside || claim.over.as_ref() == Some(&host.instance);
    match claim.launched_against(host) {
        Ordering::Less if !passed_over => Right::Take(Ground::Younger),
        _ => Right::StandAside,
    }
}

/// What `host` may do as long as it has no certificate, and can only say that it waits for one: nothing that would lead
/// visitors away from a host that lives, whatever it says of itself.
pub fn right_without_certificate(host: &Host, claim: Option<&Claim>, claimant: Standing) -> Right {
    match claim {
        None => Right::Take(Ground::Unclaimed),
        Some(claim) if claim.instance == host.instance => Right::Hold,
        Some(_) if claimant == Standing::Gone => Right::Take(Ground::Gone),
        Some(_) => Right::StandAside,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::host, *};

    fn claimed(instance: &str, minute: i64) -> Claim {
        Claim::of(&host(instance, minute), 3)
    }

    #[test]
    fn right_follows_from_the_claim_and_from_how_the_claimant_stands() {
        let departing = |claim: Claim| Claim { departing: true, ..claim };
        let waiting = |claim: Claim| Claim { waiting: true, ..claim };
        let over = |claim: Claim, whom: &str| Claim { over: Some(whom.to_owned()), ..claim };
        let (lives, gone) = (Standing::Lives, Standing::Gone);
        let table = [
            ("nobody claims", None, false, lives, Right::Take(Ground::Unclaimed)),
            ("mine", Some(claimed("i-me", 5)), false, lives, Right::Hold),
            ("mine, departing", Some(departing(claimed("i-me", 5))), false, lives, Right::Hold),
            ("older", Some(claimed("i-a", 1)), false, lives, Right::Take(Ground::Younger)),
            ("younger", Some(claimed("i-a", 9)), false, lives, Right::StandAside),
            ("younger, gone", Some(claimed("i-a", 9)), false, gone, Right::Take(Ground::Gone)),
            ("younger, departing", Some(departing(claimed("i-a", 9))), false, lives, Right::Take(Ground::Departing)),
            ("younger, waiting", Some(waiting(claimed("i-a", 9))), false, lives, Right::Take(Ground::Waiting)),
            ("younger, waiting, after me", Some(waiting(claimed("i-a", 9))), true, lives, Right::Take(Ground::Waiting)),
            ("younger, waiting, gone", Some(waiting(claimed("i-a", 9))), false, gone, Right::Take(Ground::Gone)),
            ("launched with me, smaller id", Some(claimed("i-a", 5)), false, lives, Right::Take(Ground::Younger)),
            ("launched with me, greater id", Some(claimed("i-z", 5)), false, lives, Right::StandAside),
            ("older, over me", Some(over(claimed("i-a", 1), "i-me")), false, lives, Right::StandAside),
            ("older, over another", Some(over(claimed("i-a", 1), "i-b")), false, lives, Right::Take(Ground::Younger)),
            ("older, after me", Some(claimed("i-a", 1)), true, lives, Right::StandAside),
            ("older, over me, gone", Some(over(claimed("i-a", 1), "i-me")), true, gone, Right::Take(Ground::Gone)),
            (
                "older, after me, departing",
                Some(departing(claimed("i-a", 1))),
                true,
                lives,
                Right::Take(Ground::Departing),
            ),
        ];
        for (what, claim, put_aside, claimant, expected) in table {
            assert_eq!(right(&host("i-me", 5), put_aside, claim.as_ref(), claimant), expected, "{what}");
        }
    }

    #[test]
    fn host_without_certificate_takes_only_what_nobody_else_who_lives_has() {
        let departing = Claim { departing: true, ..claimed("i-a", 1) };
        let waiting = Claim { waiting: true, ..claimed("i-a", 1) };
        let (lives, gone) = (Standing::Lives, Standing::Gone);
        let table = [
            ("nobody claims", None, lives, Right::Take(Ground::Unclaimed)),
            ("mine", Some(claimed("i-me", 5)), lives, Right::Hold),
            ("older", Some(claimed("i-a", 1)), lives, Right::StandAside),
            ("younger", Some(claimed("i-a", 9)), lives, Right::StandAside),
            ("departing: it still serves", Some(departing.clone()), lives, Right::StandAside),
            ("waiting like me", Some(waiting), lives, Right::StandAside),
            ("gone", Some(claimed("i-a", 9)), gone, Right::Take(Ground::Gone)),
            ("departing, gone", Some(departing), gone, Right::Take(Ground::Gone)),
        ];
        for (what, claim, claimant, expected) in table {
            assert_eq!(right_without_certificate(&host("i-me", 5), claim.as_ref(), claimant), expected, "{what}");
        }
    }
}
