//! What a version of the site is called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
/// As it was before versions of one second were told apart.
const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
/// How many digits of the hash are in the name.
const DIGITS: usize = 12;

/// The name of a version, `20261121T120000.123Z-0123456789ab`: when it was published, to the millisecond, then the first
/// digits of its package's SHA-256. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// The version that is published at that time with a package of that hash (hexadecimal digits).
    pub fn new(at: OffsetDateTime, sha256: &str) -> Version {
        let stamp = at.to_offset(UtcOffset::UTC).format(STAMP).unwrap_or_default();
        Version(format!("{stamp}-{}", sha256.get(..DIGITS).unwrap_or(sha256)))
    }

    /// When it was published.
    pub fn at(&self) -> OffsetDateTime {
        let stamp = self.0.split('-').next().unwrap_or_default();
        parsed(stamp).map_or(OffsetDateTime::UNIX_EPOCH, PrimitiveDateTime::assume_utc)
    }

    /// Whether a package of that hash has this version, as far as the name tells.
    pub fn is_of(&self, sha256: &str) -> bool {
        self.0.rsplit('-').next().is_some_and(|digits| sha256.get(..DIGITS) == Some(digits))
    }
}

fn parsed(stamp: &str) -> Option<PrimitiveDateTime> {
    PrimitiveDateTime::parse(stamp, STAMP).or_else(|_| PrimitiveDateTime::parse(stamp, SECONDS)).ok()
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let wrong = || format!("`{text}` is not a version such as 20261121T120000.123Z-0123456789ab");
        let (stamp, digits) = text.split_once('-').ok_or_else(wrong)?;
        parsed(stamp).ok_or_else(wrong)?;
        let fits = digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Version(text.to_owned())) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Version, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn version_tells_when_and_what() {
        let version = Version::new(datetime!(2026-11-21 13:00:05 +1), HASH);
        assert_eq!(version.to_string(), "20261121T120005.000Z-0123456789ab");
        assert_eq!(version.at(), datetime!(2026-11-21 12:00:05 UTC));
        assert!(version.is_of(HASH) && !version.is_of(&HASH.replace('0', "1")));
        assert_eq!("20261121T120005.000Z-0123456789ab".parse(), Ok(version.clone()));
        assert!(version < Version::new(datetime!(2026-11-21 12:00:06 UTC), "0000"));
    }

    #[test]
    fn versions_of_one_second_sort_in_the_order_in_which_they_were_published() {
        let at = [datetime!(2026-11-21 12:00:05.001 UTC), datetime!(2026-11-21 12:00:05.020 UTC)];
        let versions = [Version::new(at[0], &"f".repeat(64)), Version::new(at[1], &"0".repeat(64))];
        assert!(versions[0] < versions[1], "{versions:?}");
        assert_eq!(versions.map(|version| version.at()), at);
        let before: Version = "20261121T120004Z-ffffffffffff".parse().expect("as it was written before");
        assert!(before < Version::new(at[0], HASH));
        assert_eq!(before.at(), datetime!(2026-11-21 12:00:04 UTC));
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            "latest",
            "20261121T120005Z",
            "20261121T120005Z-0123",
            "20261321T120005Z-0123456789ab",
            "20261121T120005Z-0123456789AB",
            "20261121T120005Z-0123456789ab.zip",
            "20261121T120005.1Z-0123456789ab",
            "20261121T120005.1234Z-0123456789ab",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
