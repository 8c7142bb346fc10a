//! How long the owner has been silent.
//!
//! One unanswered probe is the network's weather; an owner is given up only after several, spread over longer than a
//! reboot takes, each of them beside something else that was reached in the same look.

use std::time::Duration;

/// Fewer probes than these say nothing, however long ago the first was: a host that was stopped for a while has slept
/// through the time, not watched it. For the same reason the time between two of them counts no more than a part of the limit.
const ENOUGH: u32 = 5;

/// So many are remembered: those of an hour, at a look every three seconds.
const MOST: usize = 1_200;

/// How much longer a claimant from elsewhere may be silent that was never heard.
pub(crate) const DOUBT: u32 = 8;

/// The silence of one claimant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureDetector {
    of: Option<(String, u64)>,
    /// The claimant that has been heard, in whatever epoch since another had the names.
    heard: Option<String>,
    /// When each of its unanswered probes was sent.
    probes: Vec<Duration>,
}

impl FailureDetector {
    /// The claimant, of that epoch, was asked `at` that time of this host's own clock, which only ever runs forward: when the
    /// probe was sent, since a host may be stopped before it hears what came of it.
    pub fn asked(&mut self, claimant: &str, epoch: u64, answers: bool, at: Duration) {
        let of = Some((claimant.to_owned(), epoch));
        // A host that has the names again after another is to be heard anew: what was heard of it before says nothing of now.
        self.heard =
            if answers { Some(claimant.to_owned()) } else { self.heard.take().filter(|heard| heard == claimant) };
        if answers || self.of != of {
            *self = FailureDetector { of, heard: self.heard.take(), ..FailureDetector::default() };
        }
        if !answers {
            // What is long is known from some, and does not get longer for ever.
            if self.probes.len() >= MOST {
                self.probes.remove(0);
            }
            self.probes.push(at);
        }
    }

    /// How long a claimant may be silent before it is taken for dead, where it may be silent for `limit` if nothing speaks
    /// against that. Something does where it is `elsewhere`, in another region or account, and was never heard, or not since it
    /// followed another: whatever keeps the two from hearing each other is seen by no visitor. Would each take what it does
    /// not hear for dead, the names would go to and fro between them.
    pub fn limit(&self, claimant: &str, limit: Duration, elsewhere: bool) -> Duration {
        let heard = self.heard.as_deref() == Some(claimant);
        if elsewhere && !heard { limit * DOUBT } else { limit }
    }

    /// Whether it has been watched for `limit`.
    pub fn is_long(&self, limit: Duration) -> bool {
        let gaps = self.probes.windows(2).map(|two| two[1].saturating_sub(two[0]).min(limit / (ENOUGH - 1)));
        self.probes.len() >= ENOUGH as usize && gaps.sum::<Duration>() >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// When, who, of which epoch, and whether it answers.
    type Probe = (u64, &'static str, u64, bool);

    fn after(probes: &[Probe]) -> bool {
        let mut silence = FailureDetector::default();
        for (at, claimant, epoch, answers) in probes {
            silence.asked(claimant, *epoch, *answers, Duration::from_secs(*at));
        }
        silence.is_long(LIMIT)
    }

    #[test]
    fn claimant_from_elsewhere_that_was_never_heard_is_given_longer() {
        let mut silence = FailureDetector::default();
        silence.asked("b", 4, false, Duration::ZERO);
        assert_eq!(silence.limit("b", LIMIT, true), LIMIT * DOUBT, "it is elsewhere");
        assert_eq!(silence.limit("b", LIMIT, false), LIMIT, "it is here");
        silence.asked("b", 4, true, Duration::ZERO);
        silence.asked("b", 5, false, Duration::ZERO);
        assert_eq!(silence.limit("b", LIMIT, true), LIMIT, "it was heard");
        assert_eq!(silence.limit("c", LIMIT, true), LIMIT * DOUBT, "another was not");
        silence.asked("c", 6, false, Duration::ZERO);
        silence.asked("b", 7, false, Duration::ZERO);
        assert_eq!(silence.limit("b", LIMIT, true), LIMIT * DOUBT, "it was not since it followed another");
    }

    #[test]
    fn silence_is_long_after_several_probes_spread_over_the_limit() {
        let table: &[(&str, &[Probe], bool)] = &[
            ("never asked", &[], false),
            ("once", &[(900, "a", 1, false)], false),
            ("five at once", &[(0, "a", 1, false); 5], false),
            ("two, far apart: this host was stopped", &[(0, "a", 1, false), (900, "a", 1, false)], false),
            (
                "five, spread",
                &[
                    (0, "a", 1, false),
                    (15, "a", 1, false),
                    (30, "a", 1, false),
                    (45, "a", 1, false),
                    (60, "a", 1, false),
                ],
                true,
            ),
            (
                "five, and stopped between: what was slept through was not watched",
                &[
                    (0, "a", 1, false),
                    (5, "a", 1, false),
                    (10, "a", 1, false),
                    (900, "a", 1, false),
                    (905, "a", 1, false),
                ],
                false,
            ),
            (
                "an answer between",
                &[
                    (0, "a", 1, false),
                    (15, "a", 1, false),
                    (30, "a", 1, true),
                    (45, "a", 1, false),
                    (60, "a", 1, false),
                ],
                false,
            ),
            (
                "a sign of life: another epoch",
                &[
                    (0, "a", 1, false),
                    (15, "a", 1, false),
                    (30, "a", 2, false),
                    (45, "a", 2, false),
                    (60, "a", 2, false),
                ],
                false,
            ),
        ];
        for (what, probes, expected) in table {
            assert_eq!(after(probes), *expected, "{what}");
        }
    }
}
