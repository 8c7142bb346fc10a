//! What a look at the packages calls for. Pure.

/// What a look has found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookedAt {
    /// The package that is held.
    pub(crate) held: Option<HeldPackage>,
    /// The newest package.
    pub(crate) newest: Option<NewestStanding>,
}

/// How the package that is held stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldPackage {
    /// Whether it is the newest.
    pub(crate) is_newest: bool,
    /// How its trial stands.
    pub(crate) trial: TrialStanding,
    /// Whether the disk does not say yet that it is the last good one.
    pub(crate) unnoted: bool,
}

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrialStanding {
    /// It may still be passed.
    Pending,
    /// The process was well.
    Passed,
    /// The process was not well.
    Failed,
}

/// How the newest package stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewestStanding {
    /// Whether it must not go live here.
    pub(crate) condemned: bool,
    /// Whether a host has found it good.
    pub(crate) found_good: bool,
}

/// The older package that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// The newest that nobody refuses: anything is better than nothing.
    Unrefused,
    /// The newest that a host has found good.
    FoundGood,
}

/// What a look calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackageCall {
    /// What is held has passed its trial, and is to be the last good one.
    Keep,
    /// A verdict is to be published.
    Tell,
    /// There is no package.
    Despite,
    /// Nothing was seen yet.
    Wait,
    /// The newest is held.
    Hold,
    /// The older package is to be fetched.
    FetchInstead,
    /// The newest must not go live.
    Condemned,
    /// The newest is to be fetched.
    FetchNewest,
}

impl LookedAt {
    /// Which older package is to take the place of the newest, if one is. A package that was good itself somewhere is not given up for an
    /// older one: its process may lack something that an older one would lack, too, such as its database.
    pub(crate) fn search(&self) -> Option<Search> {
        let newest = self.newest?;
        match self.held {
            None if newest.condemned => Some(Search::Unrefused),
            Some(held) if held.is_newest && held.trial == TrialStanding::Failed => {
                (!newest.condemned && !newest.found_good).then_some(Search::FoundGood)
            }
            _ => None,
        }
    }

    /// What is called for; `tells` is whether a verdict is due, `is_none` whether there is no package, and `instead` whether an older one
    /// was found that takes the place of the newest.
    pub(crate) fn call(&self, tells: bool, is_none: bool, instead: bool) -> PackageCall {
        if self.held.is_some_and(|held| held.unnoted && held.trial == TrialStanding::Passed) {
            return PackageCall::Keep;
        }
        if tells {
            return PackageCall::Tell;
        }
        if is_none {
            return PackageCall::Despite;
        }
        let Some(newest) = self.newest else { return PackageCall::Wait };
        if self.held.is_some_and(|held| held.is_newest) && !instead {
            return PackageCall::Hold;
        }
        match (newest.condemned, instead) {
            (true, true) => PackageCall::FetchInstead,
            (true, false) => PackageCall::Condemned,
            (false, _) => PackageCall::FetchNewest,
        }
    }
}

/// Whether a package that is taken is noted as the last good one at once. One on trial is that only where there is no other: its files
/// are better than nothing.
pub(crate) fn is_noted_at_once(trial: TrialStanding, keeps_another: bool) -> bool {
    trial == TrialStanding::Passed || !keeps_another
}
