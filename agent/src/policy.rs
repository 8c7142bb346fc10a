//! The rights that a configuration needs at AWS, as an IAM policy. Pure.
//!
//! All of it is one table, `RIGHTS`: what is used, by whom, on what. A test holds every call that the whole test suite
//! makes against the policies printed from it, both ways: nothing missing, nothing spare.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    aws::{attempt::ANY, simulation::Question},
    config::{Authority, Bucket, Config, Leading, PackagePlace, VaultPlace},
};

mod rights;

use rights::RIGHTS;

/// For whom a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    /// The instance profile of the hosts.
    Host,
    /// Whoever publishes packages, such as a CI job.
    Publisher,
    /// The person who sets a site up and looks after it with `init` and `doctor`.
    Operator,
}

/// Where the resources of a configuration are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Region of the secret and of the instances, or `*`.
    pub region: String,
    /// Number of the AWS account, or `*`.
    pub account: String,
    /// Bucket of the program and of the reports of failed boots, if the user data is used.
    pub ground: Option<String>,
}

impl Place {
    /// Partition of the region, the first part of every ARN (AWS General Reference, "Amazon Resource Names").
    pub fn partition(&self) -> &'static str {
        match self.region.split('-').next() {
            Some("cn") => "aws-cn",
            Some("us") if self.region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

/// An IAM policy document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

/// What one statement of it allows.
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
    pub fn new(config: &Config, place: &Place, who: Who) -> Policy {
        let site = Site { config, place };
        let used = RIGHTS.iter().filter(|right| right.who == who).filter_map(|right| right.of(&site));
        // The language of policies has had this version since 2012 (IAM User Guide, "IAM JSON policy elements: Version").
        Policy { version: "2012-10-17", statement: used.collect() }
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

/// A row of the table: what is allowed, where the configuration uses it.
struct Right {
    who: Who,
    sid: &'static str,
    actions: &'static [&'static str],
    /// What it is allowed on; nothing where the configuration does not use it.
    on: fn(&Site<'_>) -> Vec<String>,
    /// Under which condition.
    only: fn(&Site<'_>) -> Option<Value>,
}

impl Right {
    fn of(&self, site: &Site<'_>) -> Option<Statement> {
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
struct Site<'a> {
    config: &'a Config,
    place: &'a Place,
}

impl Site<'_> {
    fn package(&self) -> Option<&Bucket> {
        match &self.config.package {
            PackagePlace::Bucket(bucket) => Some(bucket),
            PackagePlace::Disk(_) => None,
        }
    }

    /// An ARN of the account and region.
    fn arn(&self, service: &str, resource: &str) -> String {
        let Place { region, account, .. } = self.place;
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.place.partition())
    }

    fn bucket(&self) -> Vec<String> {
        let arn = |bucket: &Bucket| format!("arn:{}:s3:::{}", self.place.partition(), bucket.bucket);
        self.package().map(arn).into_iter().collect()
    }

    /// Objects below the prefix of the packages.
    fn objects(&self, below: &str) -> Vec<String> {
        let arn = |at: &Bucket| format!("arn:{}:s3:::{}/{}{below}", self.place.partition(), at.bucket, at.prefix);
        self.package().map(arn).into_iter().collect()
    }

    /// Objects of the bucket that the user data uses.
    fn ground(&self, keys: &str) -> Vec<String> {
        let arn = |bucket: &String| format!("arn:{}:s3:::{bucket}/{keys}", self.place.partition());
        self.place.ground.as_ref().map(arn).into_iter().collect()
    }

    /// Newer versions of the program.
    fn upgrades(&self) -> Vec<String> {
        let arn = |upgrade: &crate::config::Upgrade| {
            format!("arn:{}:s3:::{}/{}*", self.place.partition(), upgrade.from.bucket, upgrade.from.prefix)
        };
        self.config.upgrade.as_ref().map(arn).into_iter().collect()
    }

    /// Only names below the prefix may be listed.
    fn below_the_prefix(&self) -> Option<Value> {
        let prefix = &self.package()?.prefix;
        let condition = json!({ "StringEquals": { "s3:prefix": prefix } });
        (!prefix.is_empty()).then_some(condition)
    }

    /// The same for whoever lists what is further below, too.
    fn anything_below_the_prefix(&self) -> Option<Value> {
        let prefix = &self.package()?.prefix;
        let condition = json!({ "StringLike": { "s3:prefix": format!("{prefix}*") } });
        (!prefix.is_empty()).then_some(condition)
    }

    /// The secret; Secrets Manager ends ARNs with six characters of its own choice.
    fn secret(&self, end: &str) -> Vec<String> {
        match &self.config.vault {
            VaultPlace::Secret(name) => vec![self.arn("secretsmanager", &format!("secret:{name}{end}"))],
            VaultPlace::Disk(_) => Vec::new(),
        }
    }

    /// The secrets that keep the keys of external accounts; they have those six characters, too.
    fn secrets_of_accounts(&self) -> Vec<String> {
        let Authority::Acme(authorities) = &self.config.authority else { return Vec::new() };
        let keys = authorities.iter().filter_map(|ca| ca.eab.as_ref()).map(|eab| &eab.key);
        let named = keys.filter_map(|key| match key {
            VaultPlace::Secret(name) => Some(self.arn("secretsmanager", &format!("secret:{name}-??????"))),
            VaultPlace::Disk(_) => None,
        });
        named.collect()
    }

    fn secret_of_that_name(&self) -> Option<Value> {
        match &self.config.vault {
            VaultPlace::Secret(name) => Some(json!({ "StringEquals": { "secretsmanager:Name": name } })),
            VaultPlace::Disk(_) => None,
        }
    }

    fn zone(&self) -> Vec<String> {
        let arn = |zone: &String| format!("arn:{}:route53:::hostedzone/{zone}", self.place.partition());
        self.config.zone.as_ref().map(arn).into_iter().collect()
    }

    /// Changes of zones have numbers of their own, which nobody knows beforehand.
    fn changes(&self) -> Vec<String> {
        let arn = |_: &String| format!("arn:{}:route53:::change/*", self.place.partition());
        self.config.zone.as_ref().map(arn).into_iter().collect()
    }

    /// Records of the site, and no others: names, the claim beside the canonical one, and challenges of the CA.
    fn records_of_the_site(&self) -> Option<Value> {
        // A condition compares with names in which all but a-z, 0-9, -, _ and . is octal.
        let normal = |name: &crate::config::Name| name.as_str().replace('*', "\\052");
        let mut names: Vec<String> = self.config.names().iter().map(normal).collect();
        names.push(format!("_spothost.{}", self.config.domain));
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
        self.config.zone.is_some() || self.config.leading != Leading::Records
    }

    /// The Elastic IP, and the interfaces of hosts that it is led to.
    fn elastic_ip(&self) -> Vec<String> {
        match &self.config.leading {
            Leading::ElasticIp(id, _) => {
                vec![self.arn("ec2", &format!("elastic-ip/{id}")), self.arn("ec2", "network-interface/*")]
            }
            Leading::Records | Leading::Multivalue => Vec::new(),
        }
    }

    /// `what`, where an Elastic IP moves.
    fn where_an_address_moves(&self, what: Vec<String>) -> Vec<String> {
        if matches!(self.config.leading, Leading::ElasticIp(..)) { what } else { Vec::new() }
    }

    /// `what`, where every host is led to, each with a health check.
    fn where_many_are_led_to(&self, what: &str) -> Vec<String> {
        if self.config.leading == Leading::Multivalue { vec![what.to_owned()] } else { Vec::new() }
    }

    /// What hosts take turns by, and count with, where there is a succession.
    fn turns_in_the_fleet(&self) -> Vec<String> {
        let keys = ["leaving", "early", "replacement-*"].map(|what| format!(".spothost-{what}.json"));
        match self.follows() {
            true => keys.iter().flat_map(|key| self.objects(key)).collect(),
            false => Vec::new(),
        }
    }

    /// The fleet of that id or name; any, where it is found by the tags of the instance.
    fn fleets(&self) -> Vec<String> {
        if !self.follows() {
            return Vec::new();
        }
        let ec2 = |kind: &str, id: &str| self.arn("ec2", &format!("{kind}/{id}"));
        let group = |name: &str| self.arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{name}"));
        match self.config.fleet.id.as_deref() {
            Some(id) if id.starts_with("sfr-") => vec![ec2("spot-fleet-request", id)],
            Some(id) if id.starts_with("fleet-") => vec![ec2("fleet", id)],
            Some(name) => vec![group(name)],
            None => vec![ec2("spot-fleet-request", "*"), ec2("fleet", "*"), group("*")],
        }
    }

    /// Instances that the launch template of this site has started.
    fn tagged_as_a_host(&self) -> Option<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: [&str; 2] = ["eu-central-1", "123456789012"];

    fn policy(config: &str, who: Who) -> Value {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("spothost.toml");
        std::fs::write(&path, config).expect("written");
        let config = Config::load(&path).expect("valid");
        let [region, account] = PLACE.map(str::to_owned);
        serde_json::to_value(Policy::new(&config, &Place { region, account, ground: None }, who)).expect("JSON")
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
                vec!["FindThePackage", "FindOlderVersions", "FetchThePackage", "LeaveVerdicts", "SayWhatIsServed"],
            ),
            (
                "package = \"file:///srv/site\"\nvault = \"v\"\n[acme]\ndirectory = \"internal\"\n",
                vec!["KeepTheIdentity", "CreateTheIdentity"],
            ),
            (
                "package = \"file:///srv/site\"\nvault = \"file:///srv/vault\"\n[acme]\ndirectory = \"internal\"\n\
                 [upgrade]\nfrom = \"s3://sites/spothost/\"\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n",
                vec!["FetchUpgrades"],
            ),
        ];
        for (more, expected) in table {
            assert_eq!(sids(&policy(&format!("{LEAST}{more}"), Who::Host)), expected, "{more}");
        }
    }

    #[test]
    fn nothing_is_allowed_on_everything_but_what_aws_cannot_narrow() {
        let config = format!("{LEAST}package = \"s3://sites/p/\"\nvault = \"v\"\nzone = \"Z1\"\n");
        for who in [Who::Host, Who::Publisher, Who::Operator] {
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
    fn partition_follows_the_region() {
        let table =
            [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("us-east-1", "aws")];
        for (region, partition) in table {
            let place = Place { region: region.to_owned(), account: String::new(), ground: None };
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
