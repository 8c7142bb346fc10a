//! The clock of this machine, against the `Date` of AWS's answers.

use time::{Duration, OffsetDateTime};

use super::{Line, Subject};

/// A `Date` is a whole second, and an answer takes its time.
const UNREMARKABLE: Duration = Duration::seconds(30);
/// AWS refuses what was signed at another time than this far from its own; the SDK corrects that with a further call
/// (IAM User Guide, "Elements of an AWS API request signature").
const REFUSED: Duration = Duration::minutes(5);

/// Judges what AWS said the time was, and what this machine took it for then.
pub(super) fn judged(told: Option<(OffsetDateTime, OffsetDateTime)>) -> Option<Line> {
    let (told, taken) = told?;
    let off = taken - told;
    let way = if off.is_negative() { "behind" } else { "ahead of" };
    let said = format!("the clock is {} s {way} that of AWS", off.abs().whole_seconds());
    let mend = "sudo timedatectl set-ntp true";
    Some(match off.abs() {
        off if off < UNREMARKABLE => Line::ok(Subject::Clock, "the clock is right"),
        off if off < REFUSED => Line::warning(Subject::Clock, said, mend),
        _ => Line::wrong(Subject::Clock, said, mend),
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn clock_is_judged_by_how_far_it_is_off() {
        let told = datetime!(2026-11-21 12:00 UTC);
        let table = [
            (0, LineState::Ok),
            (29, LineState::Ok),
            (-29, LineState::Ok),
            (90, LineState::Warning),
            (-90, LineState::Warning),
            (3600, LineState::Wrong),
        ];
        for (seconds, is) in table {
            let line = judged(Some((told, told + Duration::seconds(seconds)))).expect("a line");
            assert_eq!(line.is, is, "{seconds}: {line:?}");
        }
        assert!(
            judged(Some((told, told - Duration::hours(1)))).is_some_and(|line| line.said.contains("3600 s behind"))
        );
        assert_eq!(judged(None), None);
    }
}
