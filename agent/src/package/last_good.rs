//! What a host without any site takes while the newest package is refused. Pure.

use crate::documents::{Release, Verdict};

/// How many candidates are considered.
pub(super) const MOST: usize = 64;

/// The release to take instead of a refused one: of those that were found good the newest, else the newest that no host has
/// refused. Objects under keys of their own come before older versions of the one that is refused now.
///
/// `own` are the other packages in the folder, `before` the versions of the refused one's key, both in any order.
pub(crate) fn instead(own: &[Release], before: &[Release], verdicts: &[Verdict]) -> Option<Release> {
    found_good(own, before, verdicts).or_else(|| unrefused(own, before, verdicts).next())
}

/// The newest release that was found good, and that no host has refused.
pub(crate) fn found_good(own: &[Release], before: &[Release], verdicts: &[Verdict]) -> Option<Release> {
    let is_good = |release: &Release| verdicts.iter().any(|verdict| verdict.is_good() && verdict.is_about(release));
    unrefused(own, before, verdicts).find(is_good)
}

/// The releases that no host has refused, in the order in which they are considered.
fn unrefused(own: &[Release], before: &[Release], verdicts: &[Verdict]) -> impl Iterator<Item = Release> {
    let newest_first = |releases: &[Release]| {
        let mut releases: Vec<_> = releases.to_vec();
        releases.sort_by(newer_first);
        releases.truncate(MOST);
        releases
    };
    let is_refused = |release: &Release| verdicts.iter().any(|verdict| verdict.refuses() && verdict.is_about(release));
    let mut candidates: Vec<_> = newest_first(own).into_iter().chain(newest_first(before)).collect();
    candidates.retain(|release| !is_refused(release));
    candidates.into_iter()
}

/// The order of packages, the newest first: by when S3 has written them, which it tells to the second; those of one second
/// by their versions, whose names sort by time.
pub(super) fn newer_first(a: &Release, b: &Release) -> std::cmp::Ordering {
    b.modified.cmp(&a.modified).then_with(|| b.key.cmp(&a.key))
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::documents::VerdictOutcome;

    fn release(key: &str, etag: &str, second: i64) -> Release {
        Release::plain(key, etag, 1, OffsetDateTime::UNIX_EPOCH + Duration::seconds(second))
    }

    #[test]
    fn newest_good_one_is_taken_else_the_newest_that_nobody_refused() {
        let own = [release("a.zip", "1", 1), release("c.zip", "3", 3), release("b.zip", "2", 2)];
        let before = [release("x-latest.zip", "9", 9), release("x-latest.zip", "8", 8)];
        let table: [(&[&str], &[&str], Option<&str>); 8] = [
            (&[], &[], Some("3")),
            (&["1"], &[], Some("1")),
            (&["1", "2"], &[], Some("2")),
            (&["8"], &[], Some("8")),
            (&["1", "8"], &[], Some("1")),
            (&[], &["3"], Some("2")),
            (&["3"], &["3", "2", "1"], Some("9")),
            (&[], &["1", "2", "3", "8", "9"], None),
        ];
        for (good, refused, expected) in table {
            let verdict = |etag: &&str, outcome| {
                Verdict::on(&release("k", etag, 0), outcome, "i-1", OffsetDateTime::UNIX_EPOCH, &[])
            };
            let mut verdicts: Vec<_> = good.iter().map(|etag| verdict(etag, VerdictOutcome::Good)).collect();
            verdicts.extend(refused.iter().map(|etag| verdict(etag, VerdictOutcome::Refused)));
            let taken = instead(&own, &before, &verdicts);
            assert_eq!(taken.as_ref().map(|r| r.etag.as_str()), expected, "good {good:?}, refused {refused:?}");
        }
        let verdict = Verdict::on(&own[0], VerdictOutcome::Good, "i-1", OffsetDateTime::UNIX_EPOCH, &[]);
        assert_eq!(found_good(&own, &before, &[verdict]).map(|release| release.etag), Some("1".to_owned()));
        assert_eq!(found_good(&own, &before, &[]), None, "nobody has said so");
        // A word of a later version says neither.
        let word = VerdictOutcome::Other("postponed".to_owned());
        let other = Verdict::on(&release("k", "1", 0), word, "i-1", OffsetDateTime::UNIX_EPOCH, &[]);
        assert_eq!(instead(&own, &before, &[other]).map(|release| release.etag), Some("3".to_owned()));
    }

    #[test]
    fn versions_of_one_second_are_told_apart_by_their_names() {
        let key = |second: u32| format!("www/site-20261121T1200{second:02}Z-0123456789ab.zip");
        let own = [release(&key(6), "6", 5), release(&key(5), "5", 5), release(&key(7), "7", 5)];
        assert_eq!(instead(&own, &[], &[]).map(|r| r.etag), Some("7".to_owned()));
    }

    #[test]
    fn many_objects_are_no_more_work_than_some() {
        let own: Vec<_> = (0..5_000).map(|n| release(&format!("{n}.zip"), &n.to_string(), n)).collect();
        assert_eq!(instead(&own, &[], &[]).map(|r| r.etag), Some("4999".to_owned()));
    }
}
