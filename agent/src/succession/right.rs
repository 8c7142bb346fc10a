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
    let passed_over = put_aside || claim.over.as_ref() == Some(&host.instance);
    match claim.launched_against(host) {
        Ordering::Less if !passed_over => Right::Take(Ground::Younger),
        _ => Right::StandAside,
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
}
