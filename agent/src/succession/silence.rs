//! How long the owner has been silent.
//!
//! One unanswered probe is the network's weather; an owner is given up only after several, spread over longer than a
//! reboot takes, each of them beside something else that was reached in the same look.

use std::time::Duration;

/// Fewer probes than these say nothing, however long ago the first was: a host that was stopped for a while has slept
/// through the time, not watched it.
const ENOUGH: u32 = 5;

/// The silence of one claimant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    of: Option<(String, u64)>,
    since: Option<Duration>,
    probes: u32,
}

impl Silence {
    /// The claimant, of that epoch, was asked `at` that time of this host's own clock, which only ever runs forward.
    pub fn asked(&mut self, claimant: &str, epoch: u64, answers: bool, at: Duration) {
        let of = Some((claimant.to_owned(), epoch));
        if answers || self.of != of {
            *self = Silence { of, ..Silence::default() };
        }
        if !answers {
            self.since.get_or_insert(at);
            self.probes += 1;
        }
    }

    /// Whether it has lasted for `limit`.
    pub fn is_long(&self, limit: Duration, now: Duration) -> bool {
        self.probes >= ENOUGH && self.since.is_some_and(|since| now.saturating_sub(since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// When, who, of which epoch, and whether it answers.
    type Probe = (u64, &'static str, u64, bool);

    fn after(probes: &[Probe]) -> bool {
        let mut silence = Silence::default();
        let mut now = Duration::ZERO;
        for (at, claimant, epoch, answers) in probes {
            now = Duration::from_secs(*at);
            silence.asked(claimant, *epoch, *answers, now);
        }
        silence.is_long(LIMIT, now)
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
