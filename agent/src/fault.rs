//! What failed, what would cure it, and how long to wait before trying again.
//!
//! Faults are sorted by their cure and by nothing else, because that is the only thing the program and the
//! person before it can act on. No fault ends the process once something is kept.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The longest wait between two tries of something that time may cure: with its jitter never more than a try a minute.
const LONGEST_RETRY: Duration = Duration::from_secs(75);
/// The longest wait between two tries of something that a person must cure: likewise never more than a try in five minutes.
const LONGEST_FOR_A_PERSON: Duration = Duration::from_secs(375);

/// The cure of a failed step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cure {
    /// Time: the other side is busy, unreachable or broken for the moment.
    Retry,
    /// As much time as the other side asked for (`Retry-After`, RFC 9110 §10.2.3).
    Wait(Duration),
    /// A person: a permission, a missing name, a broken package.
    ///
    /// Tried again all the same, ever more rarely, but quickly at first: a fresh instance profile is denied for
    /// some seconds before it is allowed.
    Operator,
}

/// The cause of a fault, where more depends on it than its cure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Anything.
    #[default]
    Other,
    /// AWS was asked without credentials, or with such as it does not take.
    Credentials,
    /// AWS says that the caller may not.
    Denied,
    /// Nothing was heard from an address: no program listens, or nothing gets through.
    Silence,
    /// An address takes no more connections: it accepted one, and closed it before a word was said.
    Full,
}

/// One failed step: what was being done, what came back, and what would cure it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was being done, as a phrase: "reading secret www.example.org/identity".
    pub doing: String,
    /// What came back.
    pub said: String,
    /// What the person before the screen can do about it, when there is something.
    pub remedy: Option<String>,
    /// What would cure it.
    pub cure: Cure,
    /// What it is of.
    pub cause: Cause,
}

impl Fault {
    /// A fault that time may cure.
    pub fn retry(doing: impl Into<String>, said: impl fmt::Display) -> Fault {
        Fault::new(doing, said, Cure::Retry)
    }

    /// A fault that the other side asked to wait for.
    pub fn wait(doing: impl Into<String>, said: impl fmt::Display, time: Duration) -> Fault {
        Fault::new(doing, said, Cure::Wait(time))
    }

    /// A fault that only a person can cure, with the remedy.
    pub fn operator(doing: impl Into<String>, said: impl fmt::Display, remedy: impl Into<String>) -> Fault {
        Fault { remedy: Some(remedy.into()), ..Fault::new(doing, said, Cure::Operator) }
    }

    fn new(doing: impl Into<String>, said: impl fmt::Display, cure: Cure) -> Fault {
        Fault { doing: doing.into(), said: said.to_string(), remedy: None, cure, cause: Cause::Other }
    }

    /// The same, known to be of that cause.
    #[must_use]
    pub fn because(self, cause: Cause) -> Fault {
        Fault { cause, ..self }
    }

    /// Puts `context` before what was being done, so that a fault reads from outside in.
    #[must_use]
    pub fn while_doing(mut self, context: &str) -> Fault {
        self.doing = format!("{context}: {}", self.doing);
        self
    }

    /// How long to wait before try number `tries + 1`, without jitter.
    ///
    /// Time heals in doubling steps from half a second up to 75 seconds. What a person must cure is tried once a
    /// second for the first five tries, then in doubling steps up to some six minutes.
    pub fn pause(&self, tries: u32) -> Duration {
        match self.cure {
            Cure::Wait(time) => time.min(Duration::from_secs(24 * 3600)),
            Cure::Retry => doubling(Duration::from_millis(500), tries.saturating_sub(1), LONGEST_RETRY),
            Cure::Operator => doubling(Duration::from_secs(1), tries.saturating_sub(5), LONGEST_FOR_A_PERSON),
        }
    }
}

impl Fault {
    /// Spreads `pause` as [`jittered`] does, but never below the time that the other side asked for.
    pub fn spread(&self, pause: Duration, dice: f64) -> Duration {
        match self.cure {
            Cure::Wait(asked) => jittered(pause, dice).max(pause.min(asked)),
            Cure::Retry | Cure::Operator => jittered(pause, dice),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.said)?;
        match &self.remedy {
            Some(remedy) => write!(f, " — {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

fn doubling(first: Duration, steps: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << steps.min(16)).min(longest)
}

/// Spreads `pause` over 80 % to 120 % of itself, so that hosts which failed together do not come back together.
pub fn jittered(pause: Duration, dice: f64) -> Duration {
    pause.mul_f64(0.8 + 0.4 * dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_with_the_tries_and_stops_at_the_longest() {
        let table = [
            (Cure::Retry, 1, 500),
            (Cure::Retry, 2, 1_000),
            (Cure::Retry, 5, 8_000),
            (Cure::Retry, 50, 75_000),
            (Cure::Operator, 1, 1_000),
            (Cure::Operator, 5, 1_000),
            (Cure::Operator, 6, 2_000),
            (Cure::Operator, 30, 375_000),
            (Cure::Operator, u32::MAX, 375_000),
            (Cure::Wait(Duration::from_secs(7)), 9, 7_000),
            (Cure::Wait(Duration::from_secs(1 << 40)), 1, 86_400_000),
        ];
        for (cure, tries, millis) in table {
            let fault = Fault::new("doing", "said", cure);
            assert_eq!(fault.pause(tries), Duration::from_millis(millis), "{cure:?} after {tries} tries");
        }
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let pause = Duration::from_secs(10);
        assert_eq!(jittered(pause, 0.0), Duration::from_secs(8));
        assert_eq!(jittered(pause, 1.0), Duration::from_secs(12));
        assert_eq!(jittered(pause, 0.5), pause);
    }

    #[test]
    fn time_that_the_other_side_asked_for_is_never_cut_short() {
        let asked = Duration::from_secs(10);
        let fault = Fault::new("doing", "said", Cure::Wait(asked));
        assert_eq!(fault.spread(fault.pause(1), 0.0), asked);
        assert_eq!(fault.spread(fault.pause(1), 1.0), Duration::from_secs(12));
        assert_eq!(Fault::retry("doing", "said").spread(asked, 0.0), Duration::from_secs(8));
    }

    #[test]
    fn fault_reads_from_outside_in_and_ends_with_the_remedy() {
        let fault = Fault::operator("reading secret x", "AccessDenied", "allow secretsmanager:GetSecretValue")
            .while_doing("certificate");
        assert_eq!(
            fault.to_string(),
            "certificate: reading secret x: AccessDenied — allow secretsmanager:GetSecretValue"
        );
    }
}
