//! Which of the objects under the prefix is the package. Pure.

use super::{Release, verdict::Verdict};
use crate::fault::Fault;

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The release that was known is still the newest.
    Same,
    /// This is the newest, and what was found out about it, if anything.
    Newest(Release, Option<Verdict>),
    /// There is none, as the fault says.
    None(Fault),
}

/// Whether an object with this key says that it is the newest package.
pub(crate) fn is_latest(key: &str) -> bool {
    key.ends_with("-latest") || key.ends_with("-latest.zip")
}

/// The one rule for several `-latest` objects, which a rename under way or a clumsy publisher leaves behind: the
/// newest by LastModified, then the greatest key. Every host comes to the same answer.
pub(crate) fn newest(releases: Vec<Release>) -> Option<Release> {
    let latest = releases.into_iter().filter(|release| is_latest(&release.key));
    latest.max_by(|a, b| a.modified.cmp(&b.modified).then_with(|| a.key.cmp(&b.key)))
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn release(key: &str, second: i64) -> Release {
        Release::plain(key, &format!("\"{key}\""), 1, OffsetDateTime::UNIX_EPOCH + Duration::seconds(second))
    }

    #[test]
    fn key_says_that_it_is_the_newest_by_its_end() {
        let table = [
            ("www/site-latest.zip", true),
            ("www/site-latest", true),
            ("-latest", true),
            ("www/site-latest.zip.part", false),
            ("www/latest.zip", false),
            ("www/site-latest/", false),
            ("www/site-LATEST.zip", false),
            ("www/site-7.zip", false),
        ];
        for (key, expected) in table {
            assert_eq!(is_latest(key), expected, "{key}");
        }
    }

    #[test]
    fn newest_wins_whatever_the_order_and_ties_go_to_the_greatest_key() {
        type Row<'a> = (&'a [(&'a str, i64)], Option<&'a str>);
        let table: [Row<'_>; 5] = [
            (&[], None),
            (&[("a.zip", 9)], None),
            (&[("a-latest.zip", 1), ("b-latest.zip", 2), ("c.zip", 3)], Some("b-latest.zip")),
            (&[("b-latest.zip", 2), ("a-latest.zip", 2)], Some("b-latest.zip")),
            (&[("z-latest.zip", 1), ("a-latest.zip", 2)], Some("a-latest.zip")),
        ];
        for (objects, expected) in table {
            let mut releases: Vec<_> = objects.iter().map(|(key, second)| release(key, *second)).collect();
            for _ in 0..2 {
                assert_eq!(newest(releases.clone()).map(|r| r.key).as_deref(), expected, "{objects:?}");
                releases.reverse();
            }
        }
    }
}
