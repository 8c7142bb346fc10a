//! Hosts whose records may be left over, from look to look. Pure.
//!
//! Records and health checks are of the whole account, whatever the region: EC2's word is had only of those hosts that the
//! EC2 here knows. Of the others, in another region or long forgotten, only their silence tells.

use std::{collections::BTreeMap, time::Duration};

use crate::{aws::InstanceState, claim::FailureDetector};

/// After how long a host is taken for gone that has been heard before, or came back after it was swept: what keeps this host
/// from hearing it may not keep visitors from it, and their resolvers have its health check to go by.
const LONG: Duration = Duration::from_secs(3600);

/// One host of those that have a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Its instance id.
    pub(super) instance: String,
    /// What EC2 tells of it.
    pub(super) told: InstanceState,
    /// Whether it answers at its address, site or no site.
    pub(super) answers: bool,
}

/// The memory of hosts that EC2 does not know.
#[derive(Clone, Debug, Default)]
pub(super) struct Strays(BTreeMap<String, Stray>);

#[derive(Clone, Debug, Default)]
struct Stray {
    detector: FailureDetector,
    /// Whether it has shown that it lives, since this host watches it.
    lived: bool,
    /// Whether it was taken for gone, and whether its records were then away.
    swept: bool,
    away: bool,
}

impl Strays {
    /// Those of the hosts that are gone, as they were seen `at` that time of this host's own clock. `patience` is how long a
    /// host may be silent that was never heard.
    pub(super) fn gone(&mut self, seen: &[Sighting], patience: Duration, at: Duration) -> Vec<String> {
        for (instance, stray) in &mut self.0 {
            let away = !seen.iter().any(|one| one.instance == *instance);
            stray.away |= away && stray.swept;
        }
        self.0.retain(|instance, stray| stray.swept || seen.iter().any(|one| one.instance == *instance));
        let gone = seen.iter().filter(|one| match (one.answers, one.told) {
            (true, _) | (_, InstanceState::Runs) => {
                self.0.entry(one.instance.clone()).or_default().is_alive();
                false
            }
            (false, InstanceState::Ended) => true,
            (false, InstanceState::Unknown) => {
                self.0.entry(one.instance.clone()).or_default().is_gone(one, patience, at)
            }
        });
        gone.map(|one| one.instance.clone()).collect()
    }
}

impl Stray {
    fn is_alive(&mut self) {
        *self = Stray { lived: true, ..Stray::default() };
    }

    fn is_gone(&mut self, one: &Sighting, patience: Duration, at: Duration) -> bool {
        // It was swept, and has a record again: it has made that itself.
        if self.away {
            self.is_alive();
        }
        self.detector.asked(&one.instance, 0, false, at);
        let limit = if self.lived { LONG.max(patience) } else { patience };
        self.swept = self.detector.is_long(limit);
        self.swept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(180);

    fn sighting(told: InstanceState, answers: bool) -> Sighting {
        Sighting { instance: "i-0a".into(), told, answers }
    }

    /// After how many seconds the host is gone that is seen so every 15 s, for three hours at most.
    fn gone_after(strays: &mut Strays, begin: u64, told: InstanceState, answers: bool) -> Option<u64> {
        (0..720).map(|look| look * 15).find(|after| {
            let at = Duration::from_secs(begin + after);
            !strays.gone(&[sighting(told, answers)], PATIENCE, at).is_empty()
        })
    }

    #[test]
    fn host_is_gone_when_ec2_says_so_or_when_it_is_unknown_and_silent() {
        let table = [
            (InstanceState::Ended, false, Some(0)),
            (InstanceState::Ended, true, None),
            (InstanceState::Runs, false, None),
            (InstanceState::Unknown, true, None),
            (InstanceState::Unknown, false, Some(180)),
        ];
        for (told, answers, expected) in table {
            assert_eq!(gone_after(&mut Strays::default(), 0, told, answers), expected, "{told:?}, answers: {answers}");
        }
    }

    #[test]
    fn host_that_was_heard_or_came_back_is_given_an_hour() {
        for (told, answers) in [(InstanceState::Unknown, true), (InstanceState::Runs, false)] {
            let mut strays = Strays::default();
            strays.gone(&[sighting(told, answers)], PATIENCE, Duration::ZERO);
            assert_eq!(
                gone_after(&mut strays, 15, InstanceState::Unknown, false),
                Some(3600),
                "{told:?}, answers: {answers}"
            );
        }
        // It is swept, and is there again: this host does not hear it, and visitors may.
        let mut strays = Strays::default();
        assert_eq!(gone_after(&mut strays, 0, InstanceState::Unknown, false), Some(180));
        assert!(strays.gone(&[], PATIENCE, Duration::from_secs(195)).is_empty());
        assert_eq!(gone_after(&mut strays, 210, InstanceState::Unknown, false), Some(3600));
    }
}
