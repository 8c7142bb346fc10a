//! When a certificate is due. Pure; ratios of its life, no day counts: lives get shorter every year.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::place::Name;

/// Lives below this are renewed at half, as Let's Encrypt's integration guide says.
const SHORT_LIFE: Duration = Duration::days(10);

/// In the last part of its life a certificate is renewed whatever the CA says of it.
const EMERGENCY: i32 = 20;

/// What an order may take, a lost answer or two included: of a life of minutes, the last part is longer than a twentieth.
const ORDER: Duration = Duration::seconds(20);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// First instant.
    pub not_before: OffsetDateTime,
    /// Last instant.
    pub not_after: OffsetDateTime,
}

/// When a CA would like a certificate to be renewed (RFC 9773 §4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First instant.
    #[serde(with = "time::serde::rfc3339")]
    pub start: OffsetDateTime,
    /// Last instant.
    #[serde(with = "time::serde::rfc3339")]
    pub end: OffsetDateTime,
    /// Page that says why, when there is a reason beyond age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

/// Whether a certificate is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Not before that instant.
    Not(OffsetDateTime),
    /// Yes, and it may be used until then.
    Soon(String),
    /// Yes, and it cannot be used.
    Now(String),
}

/// Judges a certificate of that `life` for the names `has`, at `now`, when it should be for `wanted`.
///
/// `window` is what the CA says of it, if it says something that can be; `dice` (0 to 1) chooses the instant in it
/// (RFC 9773 §4.2), and is the same for all hosts that hold the certificate.
pub(super) fn due(
    now: OffsetDateTime,
    life: &Life,
    has: &[Name],
    wanted: &[Name],
    window: Option<&Window>,
    dice: f64,
) -> Due {
    if let Some(missing) = wanted.iter().find(|name| !has.contains(name)) {
        let why = format!("the stored one is not for {missing}");
        // Who visits the canonical name does not miss an alias.
        return if wanted.first().is_some_and(|first| has.contains(first)) { Due::Soon(why) } else { Due::Now(why) };
    }
    let whole = life.not_after - life.not_before;
    let emergency = life.emergency();
    let left = life.not_after - now;
    if left <= Duration::ZERO {
        return Due::Soon(format!("the stored one expired on {}", life.not_after.date()));
    }
    let window = window.filter(|window| window.start < window.end && window.start < life.not_after);
    let (at, why) = match window {
        Some(window) => (instant_in(window, dice), said_of(window, now)),
        None => {
            let margin = if whole < SHORT_LIFE { whole / 2 } else { whole / 3 };
            (life.not_after - margin, format!("{} of {} left", words(left), words(whole)))
        }
    };
    match (now >= at, now >= emergency) {
        (true, _) => Due::Soon(why),
        (_, true) => Due::Soon(format!("{} of {} left", words(left), words(whole))),
        _ => Due::Not(at.min(emergency)),
    }
}

impl Life {
    /// From when on it is renewed whatever the CA says.
    pub(super) fn emergency(&self) -> OffsetDateTime {
        let whole = self.not_after - self.not_before;
        self.not_after - (whole / EMERGENCY).max(ORDER.min(whole / 2))
    }

    /// How pressing an order in the place of a certificate with this life is. In each part of it there is time for at least
    /// twenty attempts, be it of three months or of a minute.
    pub(super) fn urgency(&self, now: OffsetDateTime) -> Urgency {
        let pause = (self.not_after - self.not_before) / EMERGENCY;
        if now >= self.not_after {
            Urgency::Without
        } else if now >= self.emergency() {
            Urgency::Emergency((pause / EMERGENCY).max(Duration::SECOND))
        } else {
            Urgency::CanWait(pause.max(Duration::SECOND))
        }
    }
}

fn instant_in(window: &Window, dice: f64) -> OffsetDateTime {
    window.start + (window.end - window.start) * dice.clamp(0.0, 1.0)
}

fn said_of(window: &Window, now: OffsetDateTime) -> String {
    let reason = window.explanation.as_ref().map_or(String::new(), |page| format!(", see {page}"));
    let whether = if now > window.end { "is over" } else { "has come" };
    format!("the time at which the CA suggests to renew it {whether}{reason}")
}

/// How pressing an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A valid certificate is held, and not in the last part of its life. So much time may pass between two attempts.
    CanWait(Duration),
    /// A valid certificate is held, in the last part of its life. So much time may pass between two attempts.
    Emergency(Duration),
    /// None is.
    Without,
}

/// How long to wait before the order after `failed` failed ones, of which there is at least one.
///
/// A host without a certificate starts with seconds, for a CA that blinked, and ends at an hour; one that holds a
/// valid certificate has the time that Let's Encrypt asks for: a minute, ten, a hundred, then a day
/// (<https://letsencrypt.org/docs/integration-guide/>), and an hour when its life is nearly over; but never longer than
/// its life bears.
pub(super) fn again(failed: u32, urgency: Urgency) -> Duration {
    const WITHOUT: &[i64] = &[1, 3, 10, 60, 300, 1_800, 3_600];
    const EMERGENCY: &[i64] = &[60, 600, 3_600];
    const CAN_WAIT: &[i64] = &[60, 600, 6_000, 86_400];
    let (ladder, longest) = match urgency {
        Urgency::Without => (WITHOUT, Duration::HOUR),
        Urgency::Emergency(longest) => (EMERGENCY, longest),
        Urgency::CanWait(longest) => (CAN_WAIT, longest),
    };
    let rung = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX).min(ladder.len() - 1);
    Duration::seconds(ladder[rung]).min(longest)
}

fn words(time: Duration) -> String {
    match time.whole_hours() {
        0 => format!("{} s", time.whole_seconds()),
        hours if hours < 72 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace().map(|name| name.parse().expect(name)).collect()
    }

    #[test]
    fn last_part_of_a_life_is_a_twentieth_and_no_shorter_than_an_order() {
        let table = [(90 * 24 * 3600, 108 * 3600), (6 * 24 * 3600, 7 * 3600 + 720), (400, 20), (60, 20), (10, 5)];
        for (whole, last) in table {
            let life = Life { not_before: START, not_after: START + Duration::seconds(whole) };
            assert_eq!(life.not_after - life.emergency(), Duration::seconds(last), "{whole} s");
        }
    }

    #[test]
    fn certificate_is_due_when_a_third_of_a_long_and_half_of_a_short_life_is_left() {
        let hour = |hours: i64| Duration::hours(hours);
        let table = [
            (hour(90 * 24), hour(1), "not"),
            (hour(90 * 24), hour(59 * 24), "not"),
            (hour(90 * 24), hour(60 * 24), "soon"),
            (hour(45 * 24), hour(29 * 24), "not"),
            (hour(45 * 24), hour(30 * 24), "soon"),
            (hour(160), hour(79), "not"),
            (hour(160), hour(80), "soon"),
            (hour(160), hour(160), "soon"),
            (Duration::seconds(60), Duration::seconds(29), "not"),
            (Duration::seconds(60), Duration::seconds(31), "soon"),
            (Duration::seconds(60), Duration::seconds(61), "soon"),
            // A clock that is behind by an hour, ahead by a day, or in 1970 starts no order.
            (hour(90 * 24), hour(-1), "not"),
            (hour(90 * 24), hour(24), "not"),
            (hour(90 * 24), OffsetDateTime::UNIX_EPOCH - START, "not"),
        ];
        for (whole, age, expected) in table {
            let life = Life { not_before: START, not_after: START + whole };
            let judged = match due(START + age, &life, &names("a.example"), &names("a.example"), None, 0.5) {
                Due::Not(_) => "not",
                Due::Soon(_) => "soon",
                Due::Now(_) => "now",
            };
            assert_eq!(judged, expected, "{whole} after {age}");
        }
    }

    #[test]
    fn window_of_the_ca_goes_before_the_rule_of_thumb_but_not_before_reason() {
        let life = Life { not_before: START, not_after: START + Duration::days(90) };
        let window = |start: i64, end: i64| Window {
            start: START + Duration::days(start),
            end: START + Duration::days(end),
            explanation: None,
        };
        let table = [
            // Inside, the dice choose.
            (window(60, 62), 60, 0.5, false),
            (window(60, 62), 61, 0.5, true),
            (window(60, 62), 60, 0.0, true),
            // A window that has moved into the past means now; one far ahead means not by the rule of thumb.
            (window(-2, -1), 5, 0.9, true),
            (window(80, 82), 70, 0.5, false),
            // What cannot be is passed over: end before start, beyond the life.
            (window(62, 60), 59, 0.5, false),
            (window(62, 60), 61, 0.5, true),
            (window(95, 99), 61, 0.5, true),
            // In the last twentieth it is renewed whatever the CA says.
            (window(89, 90), 86, 1.0, true),
        ];
        for (window, day, dice, expected) in table {
            let names = names("a.example");
            let judged = due(START + Duration::days(day), &life, &names, &names, Some(&window), dice);
            assert_eq!(matches!(judged, Due::Soon(_)), expected, "{window:?} on day {day} with {dice}: {judged:?}");
        }
    }

    #[test]
    fn pause_between_attempts_is_what_the_life_bears() {
        use Urgency::{CanWait, Emergency, Without};
        let of = |whole: Duration, hundredths: i32| {
            let life = Life { not_before: START, not_after: START + whole };
            life.urgency(START + whole * hundredths / 100)
        };
        assert_eq!(of(Duration::days(90), 66), CanWait(Duration::hours(108)));
        assert_eq!(of(Duration::days(90), 96), Emergency(Duration::minutes(324)));
        assert_eq!(of(Duration::days(6), 50), CanWait(Duration::minutes(432)));
        assert_eq!(of(Duration::minutes(1), 50), CanWait(Duration::seconds(3)));
        assert_eq!(of(Duration::minutes(1), 97), Emergency(Duration::SECOND));
        assert_eq!(of(Duration::minutes(1), 100), Without);
    }

    #[test]
    fn orders_that_fail_come_ever_more_rarely() {
        use Urgency::{CanWait, Emergency, Without};
        let table = [
            (1, Without, 1),
            (2, Without, 3),
            (7, Without, 3_600),
            (9_999, Without, 3_600),
            (1, CanWait(Duration::DAY), 60),
            (4, CanWait(Duration::DAY), 86_400),
            (1, Emergency(Duration::HOUR), 60),
            (9, Emergency(Duration::HOUR), 3_600),
            (9, CanWait(Duration::seconds(3)), 3),
            (1, Emergency(Duration::seconds(1)), 1),
        ];
        for (failed, urgency, seconds) in table {
            assert_eq!(again(failed, urgency).whole_seconds(), seconds, "{failed} {urgency:?}");
        }
    }

    #[test]
    fn certificate_is_due_when_a_name_is_missing_and_not_when_it_has_more() {
        let life = Life { not_before: START, not_after: START + Duration::days(90) };
        let judged = |has, wanted| due(START, &life, &names(has), &names(wanted), None, 0.5);
        assert_eq!(judged("a.example b.example", "b.example"), Due::Not(START + Duration::days(60)));
        assert_eq!(judged("a.example", "a.example b.example"), Due::Soon("the stored one is not for b.example".into()));
        assert_eq!(judged("b.example", "a.example b.example"), Due::Now("the stored one is not for a.example".into()));
    }
}
