//! The instance as EC2 knows it: its metadata service, its tags, its fleet (feature `fleet`).

use super::{Case, Line, Subject};
use crate::{
    aws::instances::{Instances, Settings},
    config::Name,
    succession::Claim,
};

/// The tag by which hosts know each other, and the role knows whom they may end.
const DOMAIN: &str = "spothost:domain";
/// The tags of fleets, which AWS sets.
const FLEETS: [&str; 3] = ["aws:ec2spot:fleet-request-id", "aws:ec2:fleet-id", "aws:autoscaling:groupName"];

/// Looks at this instance, or else at the one that holds the names.
pub(super) async fn examined(case: &Case<'_>, claim: Option<&Claim>) -> Vec<Line> {
    let own = case.host.as_ref().filter(|_| case.is_the_host()).map(|host| host.instance.as_str());
    let (Some(id), Some(aws)) = (own.or(claim.map(|claim| claim.instance.as_str())), &case.aws) else {
        return Vec::new();
    };
    match Instances::new(aws).settings(id).await {
        Ok(Some(settings)) => judged(id, &settings, &case.config.domain),
        // That it is gone is told of the records.
        Ok(None) => Vec::new(),
        Err(fault) => vec![Line::unseen(Subject::Instance, &fault)],
    }
}

fn judged(id: &str, settings: &Settings, domain: &Name) -> Vec<Line> {
    let Settings { tokens_required, hop_limit, shows_tags, tags } = settings;
    let change = |what: &str| format!("aws ec2 modify-instance-metadata-options --instance-id {id} {what}");
    let mut lines = Vec::new();
    let mut warn = |said: String, mend: String| lines.push(Line::warning(Subject::Instance, said, mend));
    if !tokens_required {
        let said =
            format!("{id} answers metadata without a token: a request that is forged through the site reads its keys");
        warn(said, change("--http-tokens required"));
    }
    if *hop_limit > 1 {
        let said = format!("metadata of {id} travels {hop_limit} hops: containers and proxies on it can read its keys");
        warn(said, change("--http-put-response-hop-limit 1"));
    }
    if !shows_tags {
        let said = format!("{id} does not show its tags in metadata: its host has to ask EC2 which fleet it is of");
        warn(said, change("--instance-metadata-tags enabled"));
    }
    match tags.get(DOMAIN) {
        Some(tagged) if tagged == domain.as_str() => {}
        other => {
            let is = other.map_or_else(|| "no tag".to_owned(), |tagged| format!("{tagged} in the tag"));
            let said = format!("{id} has {is} {DOMAIN}: other hosts of {domain} may not end it");
            warn(said, format!("aws ec2 create-tags --resources {id} --tags Key={DOMAIN},Value={domain}"));
        }
    }
    if !FLEETS.iter().any(|tag| tags.contains_key(*tag)) {
        let said = format!("{id} is of no fleet: nothing starts another when it is taken");
        warn(said, "make a fleet of one: launch-template/README.md".to_owned());
    }
    if lines.is_empty() {
        let said = format!("{id} answers metadata by token alone, within one hop, shows its tags, and is of a fleet");
        lines.push(Line::ok(Subject::Instance, said));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Is;

    #[test]
    fn each_setting_that_is_off_has_its_line() {
        let good = || Settings {
            tokens_required: true,
            hop_limit: 1,
            shows_tags: true,
            tags: [(DOMAIN, "a.example"), (FLEETS[2], "www")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        };
        let without = |tag: &str| {
            let mut settings = good();
            settings.tags.remove(tag);
            settings
        };
        let table = [
            (Settings { tokens_required: false, ..good() }, "--http-tokens required"),
            (Settings { hop_limit: 2, ..good() }, "--http-put-response-hop-limit 1"),
            (Settings { shows_tags: false, ..good() }, "--instance-metadata-tags enabled"),
            (without(DOMAIN), "Key=spothost:domain,Value=a.example"),
            (without(FLEETS[2]), "make a fleet"),
        ];
        let domain = "a.example".parse().expect("a name");
        for (settings, mend) in table {
            let lines = judged("i-1", &settings, &domain);
            assert!(
                matches!(lines.as_slice(), [line] if line.mend.as_ref().is_some_and(|said| said.contains(mend))),
                "{lines:?}"
            );
        }
        assert_eq!(judged("i-1", &good(), &domain).iter().map(|line| line.is).collect::<Vec<_>>(), [Is::Ok]);
    }
}
