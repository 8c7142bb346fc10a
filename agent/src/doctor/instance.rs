//! The instance as EC2 knows it: its metadata service, its tags, its fleet.

use std::collections::BTreeMap;

use super::{Case, Line, Subject};
use crate::{
    aws::{
        Aws,
        fleet::AwsFleet,
        instances::{Instances, Settings},
    },
    claim::Claim,
    place::Name,
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
    let settings = match Instances::new(aws).settings(id).await {
        Ok(Some(settings)) => settings,
        // That it is gone is told of the records.
        Ok(None) => return Vec::new(),
        Err(fault) => return vec![Line::unseen(Subject::Instance, &fault)],
    };
    let mut lines = judged(id, &settings, &case.config.domain);
    // One that the configuration names stands in the policy itself.
    if case.config.fleet.id.is_none() {
        lines.extend(fleet_examined(aws, id, &settings, &case.config.domain).await);
    }
    lines
}

/// Looks at the tag of the fleet that the instance is of.
async fn fleet_examined(aws: &Aws, id: &str, settings: &Settings, domain: &Name) -> Option<Line> {
    let fleet = match AwsFleet::found(aws, id, &settings.tags).await {
        Ok(fleet) => fleet?,
        Err(fault) => return Some(Line::unseen(Subject::Instance, &fault)),
    };
    match fleet.tags().await {
        Ok(tags) => fleet_judged(fleet.id(), &tags, domain, &fleet.command_to_tag(DOMAIN, domain.as_str())),
        Err(fault) => Some(Line::unseen(Subject::Instance, &fault)),
    }
}

/// A fleet without the tag of the site is none of it, as far as the policy goes.
fn fleet_judged(fleet: &str, tags: &BTreeMap<String, String>, domain: &Name, mend: &str) -> Option<Line> {
    let tagged = tags.get(DOMAIN).map(String::as_str);
    if tagged == Some(domain.as_str()) {
        return None;
    }
    let is = tagged.map_or_else(|| "no tag".to_owned(), |tagged| format!("{tagged} in the tag"));
    let said = format!("the fleet {fleet} has {is} {DOMAIN}: hosts of {domain} may not set its target");
    Some(Line::warning(Subject::Instance, said, mend))
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
    use crate::doctor::LineState;

    #[test]
    fn fleet_without_the_tag_of_the_site_is_named() {
        let domain = "a.example".parse().expect("a name");
        let tags = |value: &str| BTreeMap::from([(DOMAIN.to_owned(), value.to_owned())]);
        assert_eq!(fleet_judged("www", &tags("a.example"), &domain, "mend"), None);
        for (tags, is) in [(BTreeMap::new(), "no tag"), (tags("b.example"), "b.example in the tag")] {
            let line = fleet_judged("www", &tags, &domain, "mend").expect("a line");
            assert!(line.is == LineState::Warning && line.said.contains(is) && line.said.contains("www"), "{line:?}");
        }
    }

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
        assert_eq!(judged("i-1", &good(), &domain).iter().map(|line| line.is).collect::<Vec<_>>(), [LineState::Ok]);
    }
}
