//! The other hosts of the fleet, as its owner sees them: who has been there for long, and has never answered.
//!
//! A host that cannot become ready leaves by itself, if it can. One whose agent never started, or that may do nothing,
//! cannot; and no other host would ever end it.

use std::{collections::BTreeMap, time::Duration};

/// As with silence: fewer looks than these say nothing, however long ago the first was.
const ENOUGH: u32 = 5;

/// The other hosts that the fleet counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newcomers(BTreeMap<String, Newcomer>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Newcomer {
    since: Duration,
    looks: u32,
    answered: bool,
}

impl Newcomers {
    /// Those are the others now: by instance id, and whether they answer. `at` is the time of this host's own clock, which
    /// only ever runs forward.
    pub fn seen(&mut self, others: impl IntoIterator<Item = (String, bool)>, at: Duration) {
        let mut before = std::mem::take(&mut self.0);
        for (instance, answers) in others {
            let mut one = before.remove(&instance).unwrap_or(Newcomer { since: at, looks: 0, answered: false });
            one.looks += 1;
            one.answered |= answers;
            self.0.insert(instance, one);
        }
    }

    /// Whether that one has answered before, so that it need not be asked again.
    pub fn has_answered(&self, instance: &str) -> bool {
        self.0.get(instance).is_some_and(|one| one.answered)
    }

    /// One that has been there for `limit`, and has never answered.
    pub fn overdue(&self, limit: Duration, now: Duration) -> Option<&str> {
        let late = |one: &Newcomer| !one.answered && one.looks >= ENOUGH && now.saturating_sub(one.since) >= limit;
        self.0.iter().find(|(_, one)| late(one)).map(|(instance, _)| instance.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// When it was looked, and whether the host answered; none where it was not there.
    type Look = (u64, Option<bool>);

    #[test]
    fn host_is_overdue_when_it_has_been_there_for_long_and_never_answered() {
        let table: [(&str, &[Look], bool); 6] = [
            (
                "long, and never",
                &[(0, Some(false)), (15, Some(false)), (30, Some(false)), (45, Some(false)), (60, Some(false))],
                true,
            ),
            (
                "not long",
                &[(0, Some(false)), (1, Some(false)), (2, Some(false)), (3, Some(false)), (59, Some(false))],
                false,
            ),
            ("two looks: this host was stopped", &[(0, Some(false)), (900, Some(false))], false),
            (
                "it answered once",
                &[(0, Some(false)), (15, Some(true)), (30, Some(false)), (45, Some(false)), (60, Some(false))],
                false,
            ),
            (
                "it is gone",
                &[(0, Some(false)), (15, Some(false)), (30, Some(false)), (45, Some(false)), (60, None)],
                false,
            ),
            (
                "it came back",
                &[(0, Some(false)), (15, Some(false)), (30, None), (45, Some(false)), (60, Some(false))],
                false,
            ),
        ];
        for (what, looks, expected) in table {
            let mut newcomers = Newcomers::default();
            let mut now = Duration::ZERO;
            for (at, answers) in looks {
                now = Duration::from_secs(*at);
                newcomers.seen(answers.map(|answers| ("i-new".to_owned(), answers)), now);
            }
            assert_eq!(newcomers.overdue(LIMIT, now).is_some(), expected, "{what}");
        }
    }
}
