//! Why the host goes, and how long it has.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::clock::time_of_day;

/// How long a host that was told to end goes on accepting, telling clients to come back on another connection.
const SIGNAL_SOFT: Duration = Duration::from_secs(1);
/// How long answers under way may take after a signal.
pub(crate) const SIGNAL_HARD: Duration = Duration::from_secs(25);
/// A host that is taken stops answering this long before its end, so that the last answer leaves in one piece.
const BEFORE_THE_END: Duration = Duration::from_secs(5);
/// From here on before the end no new connection is accepted.
const LAST_ACCEPT: Duration = Duration::from_secs(15);

/// Why the host goes, and until when it must be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// In words.
    pub why: String,
    /// When the instance is taken; none for a signal, which can wait for the drain.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Whether it comes back: a hibernated instance goes on where it was, so its agent must still be there.
    #[serde(default)]
    pub returns: bool,
}

impl Shutdown {
    /// The process was told to end.
    pub fn by_signal(name: &str) -> Shutdown {
        Shutdown { why: name.to_owned(), until: None, returns: false }
    }

    /// The host leaves its fleet; its instance is being ended.
    pub fn by_leaving() -> Shutdown {
        Shutdown { why: "leaving the fleet".to_owned(), until: None, returns: false }
    }

    /// Whether the instance is about to end, so that the agent must not be started again.
    pub fn is_the_end(&self) -> bool {
        self.until.is_some() || *self == Shutdown::by_leaving()
    }

    /// Whether systemd starts the agent again here: a signal says no more than that this process is to end.
    pub fn is_followed_here(&self) -> bool {
        !self.is_the_end() && !self.returns
    }

    /// How long to go on accepting, and how long answers under way may take, both from `now` on.
    pub fn deadlines(&self, now: OffsetDateTime) -> (Duration, Duration) {
        if self.returns {
            // Hibernation begins at once, and is over when the notice is: until then there is nothing to end.
            return (Duration::MAX, Duration::MAX);
        }
        let Some(until) = self.until else {
            return (SIGNAL_SOFT, SIGNAL_HARD);
        };
        let left = Duration::try_from(until - now).unwrap_or(Duration::ZERO);
        (left.saturating_sub(LAST_ACCEPT), left.saturating_sub(BEFORE_THE_END))
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            None => write!(f, "{}", self.why),
            Some(until) => write!(f, "{} at {}", self.why, time_of_day(until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn deadlines_leave_the_last_seconds_to_the_end() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let at = |seconds: i64| Shutdown {
            until: Some(now + time::Duration::seconds(seconds)),
            ..Shutdown::by_signal("notice")
        };
        let table = [
            (Shutdown::by_signal("SIGTERM"), 1, 25),
            (at(120), 105, 115),
            (at(16), 1, 11),
            (at(4), 0, 0),
            (at(-60), 0, 0),
        ];
        for (going, soft, hard) in table {
            let expected = (Duration::from_secs(soft), Duration::from_secs(hard));
            assert_eq!(going.deadlines(now), expected, "{going}");
        }
    }
}
