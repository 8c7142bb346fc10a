//! The published package: whether there is one that hosts will serve.

use super::{Case, Line, Subject};
use crate::{
    aws::publisher_bucket::PublisherBucket,
    place::PackagePlace,
    publish::{Catalogue, PublishedPackage},
};

/// Looks at the bucket or folder.
pub(super) async fn examined(case: &Case<'_>) -> Vec<Line> {
    match (&case.config.package, &case.aws) {
        (PackagePlace::Bucket(place), Some(aws)) => {
            match Catalogue::read(&PublisherBucket::new(aws, place.clone())).await {
                Ok(catalogue) => judged(&catalogue, &place.to_string()),
                Err(fault) => vec![Line::fault(Subject::Package, &fault)],
            }
        }
        (PackagePlace::Bucket(_), None) => Vec::new(),
        (PackagePlace::Disk(path), _) => vec![if path.exists() {
            Line::ok(Subject::Package, format!("{} is there", path.display()))
        } else {
            Line::wrong(
                Subject::Package,
                format!("{} is not there", path.display()),
                format!("spothost publish DIR --to file://{}", path.display()),
            )
        }],
    }
}

fn judged(catalogue: &Catalogue, place: &str) -> Vec<Line> {
    let Some(latest) = catalogue.live() else {
        let said = format!("no object under {place} ends in -latest or -latest.zip");
        return vec![Line::wrong(Subject::Package, said, format!("spothost publish DIR --to {place}"))];
    };
    let mut lines = vec![of_the_latest(latest, place)];
    if !catalogue.rivals.is_empty() {
        let rivals = catalogue.rivals.join(", ");
        let said = format!("{rivals} also says that it is the latest; {} is newer and is served", latest.key);
        lines.push(Line::warning(Subject::Package, said, format!("remove the other one: aws s3 rm s3://…/{rivals}")));
    }
    lines
}

fn of_the_latest(latest: &PublishedPackage, place: &str) -> Line {
    let name = latest.version.as_ref().map_or_else(|| latest.key.clone(), ToString::to_string);
    match &latest.verdict {
        Some(verdict) if latest.is_refused() => {
            let said = format!("{name} was refused by {}: {}", verdict.by, verdict.reasons.join("; "));
            let mend = format!("spothost rollback --at {place}; or fix the site and publish it again");
            Line::wrong(Subject::Package, said, mend)
        }
        Some(_) => Line::ok(Subject::Package, format!("{name} was found good")),
        None => Line::ok(Subject::Package, format!("{name} is published; no host has judged it yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn bucket_without_a_package_is_told_with_the_command_that_publishes_one() {
        let lines = judged(&Catalogue::default(), "s3://sites/www/");
        assert_eq!(lines.iter().map(|line| line.is).collect::<Vec<_>>(), [LineState::Wrong]);
        assert_eq!(lines[0].mend.as_deref(), Some("spothost publish DIR --to s3://sites/www/"));
    }
}
