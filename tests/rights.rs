//! The policies that `spothost policy` prints, held against every call that the tests' hosts have made: nothing missing,
//! nothing spare.
//!
//! The calls are those of the last run of the tests `host` and `ground`, which `tests/run` has made just before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use world::{Recorded, Service};

#[path = "rights/need.rs"]
mod need;
#[path = "rights/policy.rs"]
mod policy;

use need::needs;
use policy::Policy;

/// Rights that no test can use, with the reason.
const UNUSED: &[(&str, &str)] = &[];

#[test]
fn every_call_is_allowed_and_every_right_is_used() {
    let (mut missing, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut granted = BTreeSet::new();
    let mut policies: BTreeMap<(String, String, Option<String>), Policy> = BTreeMap::new();
    for call in recorded() {
        let key = (call.configuration.clone(), call.who.clone(), call.ground.clone());
        let policy = policies.entry(key).or_insert_with(|| printed(&call.configuration, &call.who, &call.ground));
        granted.extend(policy.rights().map(|(sid, action)| format!("{} {sid} {action}", call.who)));
        for need in needs(&call) {
            match policy.allows(&need) {
                Some(sid) => drop(used.insert(format!("{} {sid} {}", call.who, need.action))),
                None => drop(missing.insert(format!("{} {need:?}", call.who))),
            }
        }
    }
    assert!(missing.is_empty(), "calls that the policy does not allow: {missing:#?}");
    let may_be_unused = |right: &&String| !UNUSED.iter().any(|(unused, _)| unused == right);
    let spare: Vec<_> = granted.difference(&used).filter(may_be_unused).collect();
    assert!(spare.is_empty(), "rights that nobody used (was every test of `host` and `ground` run?): {spare:#?}");
}

#[test]
fn policy_refuses_what_is_not_of_the_site() {
    let policy = printed(CONFIGURATION, "host", &None);
    let asked = |service, operation: &str, target: &str| {
        let (operation, target) = (operation.to_owned(), target.to_owned());
        let call =
            Recorded { configuration: String::new(), who: "host".to_owned(), ground: None, service, operation, target };
        needs(&call).iter().all(|need| policy.allows(need).is_some())
    };
    let change =
        |name: &str, kind: &str| format!("/2013-04-01/hostedzone/Z1/rrset <Name>{name}</Name><Type>{kind}</Type>");
    let table = [
        (Service::S3, "GetObject", "/sites/www/site-latest.zip".to_owned(), true),
        (Service::S3, "GetObject", "/sites/other/site-latest.zip".to_owned(), false),
        (Service::S3, "GetObject", "/elsewhere/www/site-latest.zip".to_owned(), false),
        (Service::S3, "ListObjectsV2", "/sites/?list-type=2&prefix=www%2F".to_owned(), true),
        (Service::S3, "ListObjectsV2", "/sites/?list-type=2&prefix=other%2F".to_owned(), false),
        (Service::S3, "ListObjectsV2", "/sites/?list-type=2".to_owned(), false),
        (Service::S3, "ListObjectVersions", "/sites/?versions&prefix=www%2Fsite-latest.zip".to_owned(), true),
        (Service::S3, "ListObjectVersions", "/sites/?versions&prefix=other%2F".to_owned(), false),
        (Service::S3, "PutObject", "/sites/www/site-latest.zip".to_owned(), false),
        (Service::S3, "PutObject", "/sites/www/.spothost/verdicts/x.json".to_owned(), true),
        (Service::S3, "PutObject", "/sites/www/.spothost/hosts/i-1.json".to_owned(), true),
        (Service::S3, "DeleteObject", "/sites/www/.spothost/verdicts/x.json".to_owned(), false),
        (Service::S3, "DeleteObject", "/sites/www/site-latest.zip".to_owned(), false),
        (Service::SecretsManager, "GetSecretValue", "/ {\"SecretId\":\"www/identity\"}".to_owned(), true),
        (Service::SecretsManager, "GetSecretValue", "/ {\"SecretId\":\"other/identity\"}".to_owned(), false),
        (Service::SecretsManager, "DeleteSecret", "/ {\"SecretId\":\"www/identity\"}".to_owned(), false),
        (Service::Route53, "ChangeResourceRecordSets", change("www.example.org.", "A"), true),
        (Service::Route53, "ChangeResourceRecordSets", change("_acme-challenge.www.example.org.", "TXT"), true),
        (Service::Route53, "ChangeResourceRecordSets", change("www.example.org.", "MX"), false),
        (Service::Route53, "ChangeResourceRecordSets", change("mail.example.org.", "A"), false),
        (Service::Route53, "ChangeResourceRecordSets", change("www.example.org.", "A").replace("Z1", "Z2"), false),
        (Service::Route53, "DeleteHostedZone", "/2013-04-01/hostedzone/Z1 ".to_owned(), false),
    ];
    for (service, operation, target, allowed) in table {
        assert_eq!(asked(service, operation, &target), allowed, "{operation} {target}");
    }
}

const CONFIGURATION: &str =
    "domain = \"www.example.org\"\npackage = \"s3://sites/www/\"\nvault = \"www/identity\"\nzone = \"Z1\"\n";

/// What the last run of the other tests has recorded.
fn recorded() -> Vec<Recorded> {
    let of = |binary: &str| {
        Recorded::last_run(binary).unwrap_or_else(|| panic!("nothing is recorded of `{binary}`: run tests/run"))
    };
    // What the AWS command line may do is not spothost's to say.
    let ours = |call: &Recorded| call.service != Service::Acme && call.who != "aws-cli";
    ["host", "ground"].iter().flat_map(|binary| of(binary)).filter(ours).collect()
}

/// What `spothost policy` prints.
fn printed(configuration: &str, who: &str, ground: &Option<String>) -> Policy {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let path = folder.path().join("spothost.toml");
    fs::write(&path, configuration).expect("the configuration is written");
    let mut command = Command::new(world::binary());
    command.args(["policy", "--for", who, "--region", "us-east-1", "--account", "123456789012", "--config"]).arg(path);
    if let Some(bucket) = ground {
        command.args(["--bucket", bucket]);
    }
    let ended = command.output().expect("the built program starts");
    assert!(ended.status.success(), "{}\n{configuration}", String::from_utf8_lossy(&ended.stderr));
    Policy::parse(&String::from_utf8_lossy(&ended.stdout))
}
