//! The wall clock, which nothing else reads, and how instants are told to people: in UTC, to the second.

use time::{OffsetDateTime, UtcOffset, macros::format_description};

/// What this machine's clock says. It may be off: what AWS is told rests on the `Date` of its answers (`aws/date.rs`).
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The time of day: `12:00:00 UTC`.
pub fn time_of_day(at: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute]:[second] UTC");
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_else(|_| at.to_string())
}

/// Date and time: `2026-11-21 12:00:00 UTC`.
pub fn moment(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_else(|_| at.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn instants_are_told_in_utc() {
        let at = datetime!(2026-11-21 13:05:09.5 +1);
        assert_eq!(time_of_day(at), "12:05:09 UTC");
        assert_eq!(moment(at), "2026-11-21 12:05:09 UTC");
    }
}
