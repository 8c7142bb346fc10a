//! The rights that a configuration needs at AWS, as an IAM policy. Pure.
//!
//! All of it is one table, `RIGHTS`: each action, its audience, its resource. A test holds every call that the whole test suite
//! makes against the policies printed from it, both ways: nothing missing, nothing spare.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    aws::{partition::Partition, permission_probe::ANY, simulation::Question},
    config::{Authority, Config, RoutingMode, Upgrade},
    documents::layout::{EARLY, LEAVING, REPLACEMENT, claim_record},
    place::{PackagePlace, S3Prefix, SecretId, SecretsPlace, VaultPlace},
};

mod rights;

use rights::RIGHTS;

/// For whom a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Audience {
    /// The instance profile of the hosts.
    Host,
    /// Publishers of packages, such as a CI job.
    Publisher,
    /// The person who sets a site up and looks after it with `init` and `doctor`.
    Operator,
}

/// A kind of fleet, as far as rights differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FleetKind {
    /// An Auto Scaling group.
    AutoScalingGroup,
    /// An EC2 Fleet, `fleet-…`.
    Ec2Fleet,
    /// A Spot Fleet request, `sfr-…`.
    SpotFleet,
}

impl FleetKind {
    /// The kind of the fleet of that id or name.
    fn of(id: &str) -> FleetKind {
        match id {
            id if id.starts_with("sfr-") => FleetKind::SpotFleet,
            id if id.starts_with("fleet-") => FleetKind::Ec2Fleet,
            _ => FleetKind::AutoScalingGroup,
        }
    }
}

/// Where the resources of a configuration are.
#[derive(Clone, Debug, Default)]
pub struct ResourceLocation {
    /// Region of the secret and of the instances, or `*`.
    pub region: String,
    /// Number of the AWS account, or `*`.
    pub account: String,
    /// Bucket of the program and of the reports of failed boots, if the user data is used.
    pub ground: Option<String>,
    /// ARNs of the customer-managed KMS keys that bucket and secret are encrypted with.
    pub keys: Vec<String>,
    /// The kind of the fleet, where the configuration does not name the fleet; none: any.
    pub fleet: Option<FleetKind>,
}

impl ResourceLocation {
    /// Partition of the region, the first part of every ARN.
    pub fn partition(&self) -> &'static str {
        Partition::of(&self.region).name
    }
}

/// Characters, without white space, of all policies that are embedded in one user
/// (IAM User Guide, "IAM and AWS STS quotas").
pub const OF_A_USER: usize = 2_048;
/// The same of one managed policy.
pub const MANAGED: usize = 6_144;
/// The same of all policies that are embedded in one role.
pub const OF_A_ROLE: usize = 10_240;

/// An IAM policy document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

/// One statement of a policy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
}

impl Policy {
    /// The rights that `who` needs for `config`, and no others.
    pub fn new(config: &Config, place: &ResourceLocation, who: Audience) -> Policy {
        let site = ConfiguredSite { config, place };
        let used = RIGHTS.iter().filter(|right| right.who == who).filter_map(|right| right.of(&site));
        // The language of policies has had this version since 2012 (IAM User Guide, "IAM JSON policy elements: Version").
        Policy { version: "2012-10-17", statement: used.collect() }
    }

    /// Its size as IAM counts it, in characters: white space is none.
    pub fn size(&self) -> usize {
        // Text and numbers alone: it cannot fail. No value of a policy has white space in it.
        serde_json::to_string(self).unwrap_or_default().chars().filter(|one| !one.is_whitespace()).count()
    }

    /// What has to be known about its size before it can be used; nothing, where it fits. Hosts have a role, everybody else
    /// may be a user.
    pub fn too_long(&self, who: Audience) -> Option<String> {
        let size = self.size();
        let said = match (who, size) {
            (Audience::Host, 0..=OF_A_ROLE) | (_, 0..=OF_A_USER) => return None,
            (_, 0..=MANAGED) => {
                "more than the 2,048 that a user may have inline: make it a managed policy (aws iam create-policy, \
                 attach-user-policy); a role may have it inline"
            }
            (_, 0..=OF_A_ROLE) => {
                "more than the 6,144 of a managed policy: give it to a role (aws iam put-role-policy)"
            }
            _ => {
                "more than the 10,240 that a role may have inline: names of the site stand in it up to three times, so lead \
                 some of the aliases by another site, or by a wildcard (*.example.org)"
            }
        };
        Some(format!("the policy has {size} characters without white space, {said}"))
    }

    /// What has to be answered with yes where this policy is in force: of each statement its name, and one question for
    /// each of its resources.
    pub fn questions(&self) -> Vec<(&'static str, Vec<Question>)> {
        self.statement.iter().map(|statement| (statement.sid, statement.questions())).collect()
    }
}

impl Statement {
    fn questions(&self) -> Vec<Question> {
        let actions: Vec<String> = self.action.iter().map(|action| (*action).to_owned()).collect();
        let context = self.condition.as_ref().map(in_force).unwrap_or_default();
        let question = |pattern: &String| Question {
            actions: actions.clone(),
            // One of those that the pattern is for.
            resource: if pattern == "*" { pattern.clone() } else { pattern.replace('*', ANY).replace('?', "a") },
            context: context.clone(),
        };
        self.resource.iter().map(question).collect()
    }
}

/// Values of condition keys with which the condition holds.
fn in_force(condition: &Value) -> BTreeMap<String, Vec<String>> {
    let operators = condition.as_object().into_iter().flatten();
    let keys = operators.flat_map(|(_, keys)| keys.as_object().into_iter().flatten());
    let values = |value: &Value| match value {
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        one => one.as_str().map(|text| text.trim_end_matches('*').to_owned()).into_iter().collect(),
    };
    keys.map(|(key, value)| (key.clone(), values(value))).collect()
}

/// A row of the table: actions that are allowed where the configuration uses them.
struct RightRow {
    who: Audience,
    sid: &'static str,
    actions: &'static [&'static str],
    /// What it is allowed on; nothing where the configuration does not use it.
    on: fn(&ConfiguredSite<'_>) -> Vec<String>,
    /// Under which condition.
    only: fn(&ConfiguredSite<'_>) -> Option<Value>,
}

impl RightRow {
    fn of(&self, site: &ConfiguredSite<'_>) -> Option<Statement> {
        let resource = (self.on)(site);
        (!resource.is_empty()).then(|| Statement {
            sid: self.sid,
            effect: "Allow",
            action: self.actions.to_vec(),
            resource,
            condition: (self.only)(site),
        })
    }
}

/// A configuration at its place.
struct ConfiguredSite<'a> {
    config: &'a Config,
    place: &'a ResourceLocation,
}

impl ConfiguredSite<'_> {
    fn package(&self) -> Option<&S3Prefix> {
        match &self.config.package {
            PackagePlace::Bucket(bucket) => Some(bucket),
            PackagePlace::Disk(_) => None,
        }
    }

    /// An ARN of the account and region.
    fn arn(&self, service: &str, resource: &str) -> String {
        let ResourceLocation { region, account, .. } = self.place;
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.place.partition())
    }

    fn bucket(&self) -> Vec<String> {
        let arn = |bucket: &S3Prefix| format!("arn:{}:s3:::{}", self.place.partition(), bucket.bucket);
        self.package().map(arn).into_iter().collect()
    }

    /// Objects below the prefix of the packages.
    fn objects(&self, below: &str) -> Vec<String> {
        let arn = |at: &S3Prefix| format!("arn:{}:s3:::{}/{}{below}", self.place.partition(), at.bucket, at.prefix);
        self.package().map(arn).into_iter().collect()
    }

    /// Objects of the bucket that the user data uses.
    fn ground(&self, keys: &str) -> Vec<String> {
        let arn = |bucket: &String| format!("arn:{}:s3:::{bucket}/{keys}", self.place.partition());
        self.place.ground.as_ref().map(arn).into_iter().collect()
    }

    /// The bucket that the user data uses.
    fn ground_itself(&self) -> Vec<String> {
        let arn = |bucket: &String| format!("arn:{}:s3:::{bucket}", self.place.partition());
        self.place.ground.as_ref().map(arn).into_iter().collect()
    }

    /// Newer versions of the program.
    fn upgrades(&self) -> Vec<String> {
        let arn = |upgrade: &Upgrade| {
            format!("arn:{}:s3:::{}/{}*", self.place.partition(), upgrade.from.bucket, upgrade.from.prefix)
        };
        self.config.upgrade.as_ref().map(arn).into_iter().collect()
    }

    /// The bucket that they are in.
    fn bucket_of_upgrades(&self) -> Vec<String> {
        let arn = |upgrade: &Upgrade| format!("arn:{}:s3:::{}", self.place.partition(), upgrade.from.bucket);
        self.config.upgrade.as_ref().map(arn).into_iter().collect()
    }

    /// Only names below the prefix of the packages may be listed.
    fn below_the_prefix(&self) -> Option<Value> {
        below(&self.package()?.prefix)
    }

    /// Only names below the prefix of newer versions may be listed.
    fn below_the_upgrades(&self) -> Option<Value> {
        below(&self.config.upgrade.as_ref()?.from.prefix)
    }

    /// The ARNs of a secret. Secrets Manager ends them with six characters of its own choice; who asks for one that is not
    /// there may be judged by the bare name, which is the ARN of none. An ARN is used as it is.
    fn arns_of(&self, secret: &VaultPlace) -> Vec<String> {
        match secret {
            VaultPlace::Secret(id) => self.arns_of_secret(id),
            VaultPlace::Disk(_) => Vec::new(),
        }
    }

    fn arns_of_secret(&self, id: &SecretId) -> Vec<String> {
        let ResourceLocation { region, account, .. } = self.place;
        id.policy_resources(self.place.partition(), region, account)
    }

    /// The secret with what applications need.
    fn secrets_of_the_application(&self) -> Vec<String> {
        match self.config.secrets() {
            Some(SecretsPlace::Secret(id)) => self.arns_of_secret(id),
            Some(SecretsPlace::Environment(_)) | None => Vec::new(),
        }
    }

    /// The secret that keeps the identity.
    fn secret(&self) -> Vec<String> {
        self.arns_of(&self.config.vault)
    }

    /// The same before it is there; nothing for one with an ARN, which is there.
    fn secret_to_be_made(&self) -> Vec<String> {
        self.name_of_the_secret()
            .map(|name| self.arn("secretsmanager", &format!("secret:{name}*")))
            .into_iter()
            .collect()
    }

    fn name_of_the_secret(&self) -> Option<&str> {
        match &self.config.vault {
            VaultPlace::Secret(id) => id.name(),
            VaultPlace::Disk(_) => None,
        }
    }

    fn secret_of_that_name(&self) -> Option<Value> {
        let name = self.name_of_the_secret()?;
        Some(json!({ "StringEquals": { "secretsmanager:Name": name } }))
    }

    /// The secrets that keep the keys of external accounts.
    fn secrets_of_accounts(&self) -> Vec<String> {
        let Authority::Acme(authorities) = &self.config.authority else { return Vec::new() };
        let keys = authorities.iter().filter_map(|ca| ca.eab.as_ref()).map(|eab| &eab.key);
        keys.flat_map(|key| self.arns_of(key)).collect()
    }

    fn zone(&self) -> Vec<String> {
        let arn = |zone: &String| format!("arn:{}:route53:::hostedzone/{zone}", self.place.partition());
        self.config.zone.as_ref().map(arn).into_iter().collect()
    }

    /// Changes of zones have ids that Route 53 draws, so no policy can name them.
    fn changes(&self) -> Vec<String> {
        let arn = |_: &String| format!("arn:{}:route53:::change/*", self.place.partition());
        self.config.zone.as_ref().map(arn).into_iter().collect()
    }

    /// Records of the site, and no others: names, the claim beside the canonical one, and challenges of the CA.
    fn records_of_the_site(&self) -> Option<Value> {
        // A condition compares with names in which all but a-z, 0-9, -, _ and . is octal.
        let normal = |name: &crate::place::Name| name.as_str().replace('*', "\\052");
        let mut names: Vec<String> = self.config.names().iter().map(normal).collect();
        names.push(claim_record(&self.config.domain));
        if self.orders() {
            let proven = self.config.names();
            names.extend(
                proven.iter().map(|name| format!("_acme-challenge.{}", name.as_str().trim_start_matches("*."))),
            );
            // A wildcard is proven at the name it stands before.
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
        }
        Some(json!({ "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsRecordTypes": ["A", "AAAA", "TXT"],
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": names,
        } }))
    }

    /// Whether hosts follow each other.
    fn follows(&self) -> bool {
        self.config.zone.is_some() || self.config.leading != RoutingMode::Records
    }

    /// The Elastic IP.
    fn elastic_ip(&self) -> Vec<String> {
        match &self.config.leading {
            RoutingMode::ElasticIp(id, _) => vec![self.arn("ec2", &format!("elastic-ip/{id}"))],
            RoutingMode::Records | RoutingMode::Multivalue => Vec::new(),
        }
    }

    /// `what`, where an Elastic IP moves.
    fn where_an_address_moves(&self, what: Vec<String>) -> Vec<String> {
        if self.elastic_ip().is_empty() { Vec::new() } else { what }
    }

    /// `what`, where every host is led to, each with a health check.
    fn where_many_are_led_to(&self, what: &str) -> Vec<String> {
        if self.config.leading == RoutingMode::Multivalue { vec![what.to_owned()] } else { Vec::new() }
    }

    /// What hosts take turns by, and count with, where there is a succession.
    fn turns_in_the_fleet(&self) -> Vec<String> {
        let keys = [LEAVING.to_owned(), EARLY.to_owned(), format!("{}.json", every(REPLACEMENT))];
        if self.follows() { keys.iter().flat_map(|key| self.objects(key)).collect() } else { Vec::new() }
    }

    /// Fleets of that kind that the site may be of: the one that the configuration names, or any.
    fn fleets(&self, kind: FleetKind) -> Vec<String> {
        let named = self.config.fleet.id.as_deref();
        let is = named.map(FleetKind::of).or(self.place.fleet);
        if !self.follows() || is.is_some_and(|is| is != kind) {
            return Vec::new();
        }
        let id = named.unwrap_or("*");
        vec![match kind {
            FleetKind::AutoScalingGroup => {
                self.arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{id}"))
            }
            FleetKind::Ec2Fleet => self.arn("ec2", &format!("fleet/{id}")),
            FleetKind::SpotFleet => self.arn("ec2", &format!("spot-fleet-request/{id}")),
        }]
    }

    /// What takes no resource, where the site may be of a fleet of that kind.
    fn where_a_fleet_may_be(&self, kind: FleetKind) -> Vec<String> {
        if self.fleets(kind).is_empty() { Vec::new() } else { everything() }
    }

    /// Hosts that are ended by themselves: a group ends its own.
    fn hosts_to_end(&self) -> Vec<String> {
        let kinds = [FleetKind::Ec2Fleet, FleetKind::SpotFleet];
        if kinds.into_iter().any(|kind| !self.fleets(kind).is_empty()) {
            vec![self.arn("ec2", "instance/*")]
        } else {
            Vec::new()
        }
    }

    /// One of this site, by its tag; no condition where the ARN is exact already.
    fn fleet_of_the_site(&self) -> Option<Value> {
        if self.config.fleet.id.is_some() { None } else { self.tagged_as_of_the_site() }
    }

    /// Instances and interfaces that the launch template of this site has made, and fleets that are tagged like them.
    fn tagged_as_of_the_site(&self) -> Option<Value> {
        Some(json!({ "StringEquals": { "aws:ResourceTag/spothost:domain": self.config.domain.to_string() } }))
    }

    /// The roles of the account; which of them is that of the hosts no configuration says.
    fn roles(&self) -> String {
        format!("arn:{}:iam::{}:role/*", self.place.partition(), self.place.account)
    }

    /// Whether certificates are ordered by ACME.
    fn orders(&self) -> bool {
        matches!(self.config.authority, Authority::Acme { .. })
    }
}

/// Every key that begins so, as policies name them.
fn every(begin: &str) -> String {
    format!("{begin}*")
}

/// Every resource, for actions that take none.
fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Only names that begin with `prefix` may be listed; all, where it is empty.
fn below(prefix: &str) -> Option<Value> {
    let condition = json!({ "StringLike": { "s3:prefix": format!("{prefix}*") } });
    (!prefix.is_empty()).then_some(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: [&str; 2] = ["eu-central-1", "123456789012"];

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("spothost.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(&path).expect("valid")
    }

    fn policy(text: &str, who: Audience) -> Value {
        let config = config(text);
        let [region, account] = PLACE.map(str::to_owned);
        let place = ResourceLocation { region, account, ..ResourceLocation::default() };
        serde_json::to_value(Policy::new(&config, &place, who)).expect("JSON")
    }

    fn sids(policy: &Value) -> Vec<&str> {
        let statements = policy["Statement"].as_array().expect("statements");
        statements.iter().map(|statement| statement["Sid"].as_str().expect("a name")).collect()
    }

    const LEAST: &str = "domain = \"www.example.org\"\n";

    #[test]
    fn what_is_not_used_is_not_allowed() {
        let table = [
            (
                "package = \"file:///srv/site\"\nvault = \"file:///srv/vault\"\n[acme]\ndirectory = \"internal\"\n",
                vec![],
            ),
            (
                "package = \"s3://sites/p/\"\nvault = \"file:///srv/vault\"\n[acme]\ndirectory = \"internal\"\n",
                vec!["FindThePackage", "FetchThePackage", "LeaveVerdicts", "SayWhatIsServed"],
            ),
            (
                "package = \"file:///srv/site\"\nvault = \"v\"\n[acme]\ndirectory = \"internal\"\n",
                vec!["KeepTheIdentity", "CreateTheIdentity"],
            ),
            (
                "package = \"file:///srv/site\"\nvault = \"file:///srv/vault\"\n[acme]\ndirectory = \"internal\"\n\
                 [upgrade]\nfrom = \"s3://sites/spothost/\"\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n",
                vec!["FindUpgrades", "FetchUpgrades"],
            ),
        ];
        for (more, expected) in table {
            assert_eq!(sids(&policy(&format!("{LEAST}{more}"), Audience::Host)), expected, "{more}");
        }
    }

    #[test]
    fn nothing_is_allowed_on_everything_but_what_aws_cannot_narrow() {
        let config = format!("{LEAST}package = \"s3://sites/p/\"\nvault = \"v\"\nzone = \"Z1\"\n");
        for who in [Audience::Host, Audience::Publisher, Audience::Operator] {
            for statement in policy(&config, who)["Statement"].as_array().expect("statements") {
                let only_lists = statement["Action"].as_array().expect("actions").iter().all(|action| {
                    let action = action.as_str().unwrap_or_default();
                    [":List", ":Describe", ":Get"].iter().any(|reads| action.contains(reads))
                });
                let everywhere = statement["Resource"].as_array().expect("resources").contains(&"*".into());
                assert!(!everywhere || only_lists, "{statement}");
            }
        }
    }

    #[test]
    fn policy_that_does_not_fit_says_where_it_would() {
        let aliases = |number: usize| {
            let names: Vec<_> = (0..number).map(|n| format!("\"alias-{n}.of-some-length.example.org\"")).collect();
            let text = format!(
                "{LEAST}aliases = [{}]\npackage = \"s3://sites/p/\"\nvault = \"v\"\nzone = \"Z1\"\n",
                names.join(", ")
            );
            config(&text)
        };
        let table = [
            (0, Audience::Host, None),
            (0, Audience::Publisher, None),
            (0, Audience::Operator, Some("managed policy")),
            (60, Audience::Host, None),
            (95, Audience::Host, Some("10,240 that a role may have")),
        ];
        for (number, who, said) in table {
            let place =
                ResourceLocation { region: PLACE[0].into(), account: PLACE[1].into(), ..ResourceLocation::default() };
            let policy = Policy::new(&aliases(number), &place, who);
            let told = policy.too_long(who);
            assert_eq!(told.is_some(), said.is_some(), "{number} {who:?}: {} {told:?}", policy.size());
            assert!(said.is_none_or(|said| told.is_some_and(|told| told.contains(said))), "{number} {who:?}");
        }
    }

    #[test]
    fn secret_is_allowed_by_both_names_and_an_arn_as_it_is() {
        let resources = |vault: &str| {
            let text = format!(
                "{LEAST}package = \"file:///srv/site\"\nvault = \"{vault}\"\n[acme]\ndirectory = \"internal\"\n"
            );
            policy(&text, Audience::Host)["Statement"][0]["Resource"].clone()
        };
        let begin = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:";
        assert_eq!(resources("v"), json!([format!("{begin}v-??????"), format!("{begin}v")]));
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shared/v-AbCdEf";
        assert_eq!(resources(arn), json!([arn]));
    }

    #[test]
    fn partition_follows_the_region() {
        let table = [
            ("eu-central-1", "aws"),
            ("*", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("eusc-de-east-1", "aws-eusc"),
            ("us-iso-east-1", "aws-iso"),
        ];
        for (region, partition) in table {
            let place = ResourceLocation { region: region.to_owned(), ..ResourceLocation::default() };
            assert_eq!(place.partition(), partition, "{region}");
        }
    }

    #[test]
    fn rights_are_named_once() {
        let mut seen = std::collections::BTreeSet::new();
        for right in RIGHTS {
            assert!(seen.insert((format!("{:?}", right.who), right.sid)), "{} stands twice", right.sid);
            assert!(right.sid.bytes().all(|b| b.is_ascii_alphanumeric()), "{} is no Sid", right.sid);
        }
    }
}
