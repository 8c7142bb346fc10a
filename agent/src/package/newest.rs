//! Which of the objects in the folder is the package. Pure.

use crate::{
    documents::{Release, Verdict, layout::is_latest},
    fault::Fault,
    place::S3Prefix,
};

/// The result of looking for the newest package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NewestPackage {
    /// The release that was known is still the newest.
    Same,
    /// This is the newest, and its verdict, if there is one.
    Newest(Release, Option<Verdict>),
    /// There is none, as the fault says.
    None(Fault),
}

/// The one rule for several `-latest` objects, which a rename under way or a clumsy publisher leaves behind: of those in
/// the folder itself the newest by LastModified, then the greatest key. Every host comes to the same answer.
pub(crate) fn newest<'a>(releases: &'a [Release], place: &S3Prefix) -> Option<&'a Release> {
    let latest = releases.iter().filter(|release| is_latest(&release.key) && place.holds(&release.key));
    latest.max_by(|a, b| a.modified.cmp(&b.modified).then_with(|| a.key.cmp(&b.key)))
}

/// Why there is no package, and what would cure it.
pub(super) fn none(releases: &[Release], place: &S3Prefix) -> Fault {
    let said = "no object in this folder has a key that ends in -latest or -latest.zip";
    let publish = format!("publish one: aws s3 cp site.zip {place}site-latest.zip");
    let below = releases.iter().filter(|release| is_latest(&release.key)).max_by_key(|release| release.modified);
    let remedy = match below.and_then(|below| below.key.rsplit_once('/')) {
        Some((folder, name)) => {
            let here = format!("s3://{}/{folder}/", place.bucket);
            format!("{publish}; or, for the site that lies as {name} in a folder below, set package = \"{here}\"")
        }
        None => publish,
    };
    let before = moved(place).map(|hint| format!(" ({hint})")).unwrap_or_default();
    Fault::operator(format!("looking for a package in {place}"), said, remedy + &before)
}

/// Where a package may lie that was published when a prefix was text, `s3://bucket/www` and `site-latest.zip` making
/// `wwwsite-latest.zip`, and the command that moves it into the folder.
pub(crate) fn moved(place: &S3Prefix) -> Option<String> {
    let prefix = place.prefix.strip_suffix('/')?;
    let was = format!("s3://{}/{prefix}site-latest.zip", place.bucket);
    Some(format!("a prefix names a folder: if the site lies at {was}, aws s3 mv {was} {place}site-latest.zip"))
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn release(key: &str, second: i64) -> Release {
        Release::plain(key, &format!("\"{key}\""), 1, OffsetDateTime::UNIX_EPOCH + Duration::seconds(second))
    }

    #[test]
    fn newest_wins_whatever_the_order_and_ties_go_to_the_greatest_key() {
        type Row<'a> = (&'a [(&'a str, i64)], Option<&'a str>);
        let table: [Row<'_>; 8] = [
            (&[], None),
            (&[("www/a.zip", 9)], None),
            (&[("www/a-latest.zip", 1), ("www/b-latest.zip", 2), ("www/c.zip", 3)], Some("www/b-latest.zip")),
            (&[("www/b-latest.zip", 2), ("www/a-latest.zip", 2)], Some("www/b-latest.zip")),
            (&[("www/z-latest.zip", 1), ("www/a-latest.zip", 2)], Some("www/a-latest.zip")),
            // What lies in another folder is another site's.
            (&[("www/site-latest.zip", 1), ("www/previews/pr-7/site-latest.zip", 2)], Some("www/site-latest.zip")),
            (&[("www/site-latest.zip", 1), ("www-staging/site-latest.zip", 2)], Some("www/site-latest.zip")),
            (&[("wwwsite-latest.zip", 1), ("www/previews/site-latest.zip", 2)], None),
        ];
        let place = S3Prefix::folder("example-sites", "www").expect("a folder");
        for (objects, expected) in table {
            let mut releases: Vec<_> = objects.iter().map(|(key, second)| release(key, *second)).collect();
            for _ in 0..2 {
                assert_eq!(newest(&releases, &place).map(|r| r.key.as_str()), expected, "{objects:?}");
                releases.reverse();
            }
        }
    }

    #[test]
    fn folder_without_a_package_says_where_one_may_lie() {
        let remedy = |prefix: &str, keys: &[&str]| {
            let releases: Vec<_> = keys.iter().map(|key| release(key, 1)).collect();
            let place = S3Prefix::folder("example-sites", prefix).expect("a folder");
            none(&releases, &place).remedy.unwrap_or_default()
        };
        let moved = "aws s3 mv s3://example-sites/blogsite-latest.zip s3://example-sites/blog/site-latest.zip";
        assert!(remedy("blog", &[]).contains(moved), "{}", remedy("blog", &[]));
        assert_eq!(remedy("", &[]), "publish one: aws s3 cp site.zip s3://example-sites/site-latest.zip");
        let below = remedy("", &["www/site-latest.zip"]);
        assert!(below.contains("set package = \"s3://example-sites/www/\""), "{below}");
    }
}
