//! The policies that `spothost policy` prints, held against every call that the tests' hosts have made: nothing missing,
//! nothing spare. And against calls that no host made, which have to be denied.
//!
//! The calls are those of the last run of the tests `host` and `ground`, which `tests/run` has made just before.

use std::collections::{BTreeMap, BTreeSet};

use world::{Judged, Need, Policy, Recorded};

/// Rights that no test can use, with the reason.
const UNUSED: &[(&str, &str)] = &[
    (
        "operator ReadTheConsole ec2:GetConsoleOutput",
        "a person reads it with the AWS command line; the world has no console",
    ),
    ("operator FindReportsOfFailedBoots s3:ListBucket", "a person lists them with the AWS command line"),
    ("operator ReadReportsOfFailedBoots s3:GetObject", "a person reads them with the AWS command line"),
];

/// A call that a test makes so that it is refused.
struct Refused {
    who: &'static str,
    action: &'static str,
    is_it: fn(&Need) -> bool,
    test: &'static str,
}

const REFUSED: [Refused; 3] = [
    Refused {
        who: "host",
        action: "ec2:ModifyFleet",
        is_it: has_no_tag,
        test: "denied::fleet_without_the_tag_of_the_site_is_left_alone_and_named",
    },
    Refused {
        who: "host",
        action: "ec2:TerminateInstances",
        is_it: has_no_tag,
        test: "denied::fleet_without_the_tag_of_the_site_is_left_alone_and_named",
    },
    Refused {
        who: "operator",
        action: "s3:DeleteObject",
        is_it: is_of_the_latest_package,
        test: "denied::operator_may_delete_a_verdict_and_nothing_else_of_the_packages",
    },
];

fn has_no_tag(need: &Need) -> bool {
    need.keys.is_empty()
}

fn is_of_the_latest_package(need: &Need) -> bool {
    need.resource.ends_with("-latest.zip")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_allowed_and_every_right_is_used() {
    let mut asked: BTreeMap<(String, String, Option<String>), BTreeSet<Need>> = BTreeMap::new();
    for call in recorded() {
        asked.entry((call.configuration, call.who, call.ground)).or_default().extend(call.needs);
    }
    let mut missing = BTreeSet::new();
    let mut used = BTreeSet::new();
    let mut granted = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for ((configuration, who, ground), needs) in asked {
        let bucket = ground.iter().flat_map(|bucket| ["--bucket", bucket]).collect::<Vec<_>>();
        let Some(policy) = Policy::printed(&configuration, &who, &bucket).await else {
            panic!("nothing is printed for {who}:\n{configuration}");
        };
        granted.extend(policy.rights().iter().map(|(sid, action)| format!("{who} {sid} {action}")));
        let needs: Vec<Need> = needs.into_iter().collect();
        for (need, judged) in needs.iter().zip(policy.judges(&needs).await) {
            match judged {
                Judged::Allowed(sid) => drop(used.insert(format!("{who} {sid} {}", need.action))),
                Judged::Denied => {
                    let is_it = |call: &&Refused| call.who == who && call.action == need.action && (call.is_it)(need);
                    let meant = REFUSED.iter().find(is_it);
                    match meant {
                        Some(call) => drop(refused.insert(call.test)),
                        None => drop(missing.insert(format!("{who} {need:?}"))),
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "calls that the policy does not allow: {missing:#?}");
    let meant: BTreeSet<_> = REFUSED.iter().map(|call| call.test).collect();
    assert_eq!(refused, meant, "each of these tests makes a call that is refused");
    let may_be_unused = |right: &&String| !UNUSED.iter().any(|(unused, _)| unused == right);
    let spare: Vec<_> = granted.difference(&used).filter(may_be_unused).collect();
    assert!(spare.is_empty(), "rights that nobody used (was every test of `host` and `ground` run?): {spare:#?}");
}

/// What the last run of the other tests has recorded.
fn recorded() -> Vec<Recorded> {
    let of = |binary: &str| {
        Recorded::last_run(binary).unwrap_or_else(|| panic!("nothing is recorded of `{binary}`: run tests/run"))
    };
    ["host", "ground"].iter().flat_map(|binary| of(binary)).collect()
}

const CONFIGURATION: &str =
    "domain = \"www.example.org\"\npackage = \"s3://sites/www/\"\nvault = \"www/identity\"\nzone = \"Z1\"\n";
const ELASTIC: &str = "domain = \"www.example.org\"\npackage = \"s3://sites/www/\"\nvault = \"www/identity\"\nzone = \"Z1\"\n\
     [address]\nelastic_ip = \"eipalloc-0123456789abcdef0\"\n";
const NAMED: &str = "domain = \"www.example.org\"\npackage = \"s3://sites/www/\"\n\
     vault = \"arn:aws:secretsmanager:eu-central-1:123456789012:secret:shared/www-AbCdEf\"\nzone = \"Z1\"\n[fleet]\nid = \"www\"\n";
const UPGRADES: &str = "domain = \"www.example.org\"\npackage = \"s3://sites/www/\"\nvault = \"www/identity\"\nzone = \"Z1\"\n\
     [upgrade]\nfrom = \"s3://programs/spothost/\"\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n";

const SECRETS: &str = "domain = \"www.example.org\"\npackage = \"s3://sites/www/\"\nvault = \"www/identity\"\nzone = \"Z1\"\n\
     [app]\nsecrets = \"www/app\"\n";

/// A question: action, resource, keys (`key=value`, several values of a key as several of them).
type Question = (&'static str, &'static str, &'static [&'static str]);

fn need((action, resource, keys): Question) -> Need {
    let mut need = Need { action: action.to_owned(), resource: resource.to_owned(), keys: BTreeMap::new() };
    for key in keys {
        let (key, value) = key.split_once('=').expect("key=value");
        need.keys.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    need
}

const A: &str = "route53:ChangeResourceRecordSetsRecordTypes=A";
const TXT: &str = "route53:ChangeResourceRecordSetsRecordTypes=TXT";
const MX: &str = "route53:ChangeResourceRecordSetsRecordTypes=MX";
const OF_THE_SITE: &str = "aws:ResourceTag/spothost:domain=www.example.org";
const OF_OTHERS: &str = "aws:ResourceTag/spothost:domain=shop.example.org";

macro_rules! arn {
    (ec2 $what:literal) => {
        concat!("arn:aws:ec2:eu-central-1:123456789012:", $what)
    };
    (group $name:literal) => {
        concat!("arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:0a:autoScalingGroupName/", $name)
    };
    (secret $name:literal) => {
        concat!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:", $name)
    };
    (s3 $what:literal) => {
        concat!("arn:aws:s3:::", $what)
    };
}

/// Configuration, caller, further arguments, question, and whether it is allowed.
const TABLE: &[(&str, &str, &[&str], Question, bool)] = &[
    // Packages: the folder, and nothing beside it.
    (CONFIGURATION, "host", &[], ("s3:GetObject", arn!(s3 "sites/www/site-latest.zip"), &[]), true),
    (CONFIGURATION, "host", &[], ("s3:GetObject", arn!(s3 "sites/other/site-latest.zip"), &[]), false),
    (CONFIGURATION, "host", &[], ("s3:GetObject", arn!(s3 "elsewhere/www/site-latest.zip"), &[]), false),
    (CONFIGURATION, "host", &[], ("s3:ListBucket", arn!(s3 "sites"), &["s3:prefix=www/"]), true),
    (CONFIGURATION, "host", &[], ("s3:ListBucket", arn!(s3 "sites"), &["s3:prefix=other/"]), false),
    (CONFIGURATION, "host", &[], ("s3:ListBucket", arn!(s3 "sites"), &[]), false),
    (CONFIGURATION, "host", &[], ("s3:ListBucketVersions", arn!(s3 "sites"), &["s3:prefix=www/site-latest.zip"]), true),
    (CONFIGURATION, "host", &[], ("s3:ListBucketVersions", arn!(s3 "sites"), &["s3:prefix=other/"]), false),
    (CONFIGURATION, "host", &[], ("s3:PutObject", arn!(s3 "sites/www/site-latest.zip"), &[]), false),
    (CONFIGURATION, "host", &[], ("s3:PutObject", arn!(s3 "sites/www/.spothost/verdicts/x.json"), &[]), true),
    (CONFIGURATION, "host", &[], ("s3:PutObject", arn!(s3 "sites/www/.spothost/hosts/i-1.json"), &[]), true),
    (CONFIGURATION, "host", &[], ("s3:DeleteObject", arn!(s3 "sites/www/.spothost/verdicts/x.json"), &[]), false),
    (CONFIGURATION, "host", &[], ("s3:DeleteObject", arn!(s3 "sites/www/site-latest.zip"), &[]), false),
    (CONFIGURATION, "host", &[], ("s3:GetObject", arn!(s3 "programs/spothost/spothost-x86_64"), &[]), false),
    (UPGRADES, "host", &[], ("s3:GetObject", arn!(s3 "programs/spothost/spothost-x86_64"), &[]), true),
    (
        UPGRADES,
        "host",
        &[],
        ("s3:ListBucket", arn!(s3 "programs"), &["s3:prefix=spothost/spothost-x86_64.sha256"]),
        true,
    ),
    (UPGRADES, "host", &[], ("s3:ListBucket", arn!(s3 "programs"), &["s3:prefix=www/"]), false),
    // What publishers write begins with `site-`; what hosts agree by is not theirs.
    (CONFIGURATION, "publisher", &[], ("s3:ListBucketMultipartUploads", arn!(s3 "sites"), &[]), true),
    (CONFIGURATION, "publisher", &[], ("s3:ListBucketMultipartUploads", arn!(s3 "sites"), &["s3:prefix=www/"]), true),
    (CONFIGURATION, "publisher", &[], ("s3:PutObject", arn!(s3 "sites/www/site-latest.zip"), &[]), true),
    (CONFIGURATION, "publisher", &[], ("s3:PutObject", arn!(s3 "sites/www/.spothost/verdicts/x.json"), &[]), false),
    (CONFIGURATION, "publisher", &[], ("s3:PutObject", arn!(s3 "sites/www/.spothost-lease.json"), &[]), false),
    (CONFIGURATION, "publisher", &[], ("s3:PutObject", arn!(s3 "sites/www/.spothost-leaving.json"), &[]), false),
    (CONFIGURATION, "publisher", &[], ("s3:PutObject", arn!(s3 "sites/www/.spothost-claim.json"), &[]), false),
    (CONFIGURATION, "publisher", &[], ("s3:DeleteObject", arn!(s3 "sites/www/site-latest.zip"), &[]), false),
    (CONFIGURATION, "publisher", &[], ("s3:GetObject", arn!(s3 "sites/spothost/0a/spothost-x86_64"), &[]), true),
    (CONFIGURATION, "publisher", &[], ("s3:GetObject", arn!(s3 "sites/failed/i-1.txt"), &[]), false),
    (CONFIGURATION, "publisher", &[], ("s3:PutObject", arn!(s3 "sites/spothost/0a/spothost-x86_64"), &[]), false),
    // What docs/publish.md and launch-template/README.md promise to operators.
    (CONFIGURATION, "operator", &[], ("s3:DeleteObject", arn!(s3 "sites/www/.spothost/verdicts/x.json"), &[]), true),
    (CONFIGURATION, "operator", &[], ("s3:DeleteObject", arn!(s3 "sites/www/site-latest.zip"), &[]), false),
    (CONFIGURATION, "operator", &[], ("s3:GetObject", arn!(s3 "sites/failed/i-1.txt"), &[]), true),
    (CONFIGURATION, "operator", &[], ("s3:ListBucket", arn!(s3 "sites"), &["s3:prefix=failed/"]), true),
    (CONFIGURATION, "operator", &[], ("ec2:GetConsoleOutput", arn!(ec2 "instance/i-1"), &[OF_THE_SITE]), true),
    (CONFIGURATION, "operator", &[], ("ec2:GetConsoleOutput", arn!(ec2 "instance/i-1"), &[OF_OTHERS]), false),
    (
        CONFIGURATION,
        "operator",
        &[],
        ("servicequotas:GetServiceQuota", "arn:aws:servicequotas:eu-central-1:123456789012:ec2/L-34B43A08", &[]),
        true,
    ),
    // The secret of the application is read, and no other one.
    (SECRETS, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/app-AbCdEf"), &[]), true),
    (SECRETS, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/app"), &[]), true),
    (SECRETS, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/app-of-others-AbCdEf"), &[]), false),
    (SECRETS, "host", &[], ("secretsmanager:PutSecretValue", arn!(secret "www/app-AbCdEf"), &[]), false),
    (SECRETS, "operator", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/app-AbCdEf"), &[]), false),
    (SECRETS, "publisher", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/app-AbCdEf"), &[]), false),
    (CONFIGURATION, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/app-AbCdEf"), &[]), false),
    // A secret that is not there may be judged by its bare name.
    (CONFIGURATION, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/identity-AbCdEf"), &[]), true),
    (CONFIGURATION, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/identity"), &[]), true),
    (CONFIGURATION, "operator", &[], ("secretsmanager:GetSecretValue", arn!(secret "www/identity"), &[]), true),
    (
        CONFIGURATION,
        "host",
        &[],
        ("secretsmanager:GetSecretValue", arn!(secret "www/identity-of-others-AbCdEf"), &[]),
        false,
    ),
    (CONFIGURATION, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "other/identity-AbCdEf"), &[]), false),
    (CONFIGURATION, "host", &[], ("secretsmanager:DeleteSecret", arn!(secret "www/identity-AbCdEf"), &[]), false),
    (
        CONFIGURATION,
        "host",
        &[],
        ("secretsmanager:CreateSecret", arn!(secret "www/identity-AbCdEf"), &["secretsmanager:Name=www/identity"]),
        true,
    ),
    (
        CONFIGURATION,
        "host",
        &[],
        ("secretsmanager:CreateSecret", arn!(secret "www/identity-2-AbCdEf"), &["secretsmanager:Name=www/identity-2"]),
        false,
    ),
    (NAMED, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "shared/www-AbCdEf"), &[]), true),
    (NAMED, "host", &[], ("secretsmanager:GetSecretValue", arn!(secret "shared/www-GhIjKl"), &[]), false),
    (
        NAMED,
        "host",
        &[],
        ("secretsmanager:CreateSecret", arn!(secret "shared/www-AbCdEf"), &["secretsmanager:Name=shared/www"]),
        false,
    ),
    // Records of the site.
    (
        CONFIGURATION,
        "host",
        &[],
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
            &[A, "route53:ChangeResourceRecordSetsNormalizedRecordNames=www.example.org"],
        ),
        true,
    ),
    (
        CONFIGURATION,
        "host",
        &[],
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
            &[TXT, "route53:ChangeResourceRecordSetsNormalizedRecordNames=_acme-challenge.www.example.org"],
        ),
        true,
    ),
    (
        CONFIGURATION,
        "host",
        &[],
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
            &[MX, "route53:ChangeResourceRecordSetsNormalizedRecordNames=www.example.org"],
        ),
        false,
    ),
    (
        CONFIGURATION,
        "host",
        &[],
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
            &[A, "route53:ChangeResourceRecordSetsNormalizedRecordNames=mail.example.org"],
        ),
        false,
    ),
    (
        CONFIGURATION,
        "host",
        &[],
        (
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z2",
            &[A, "route53:ChangeResourceRecordSetsNormalizedRecordNames=www.example.org"],
        ),
        false,
    ),
    (CONFIGURATION, "host", &[], ("route53:DeleteHostedZone", "arn:aws:route53:::hostedzone/Z1", &[]), false),
    // Fleets of the site, by their tag, or by their name.
    (CONFIGURATION, "host", &[], ("ec2:ModifyFleet", arn!(ec2 "fleet/fleet-1"), &[OF_THE_SITE]), true),
    (CONFIGURATION, "host", &[], ("ec2:ModifyFleet", arn!(ec2 "fleet/fleet-1"), &[OF_OTHERS]), false),
    (CONFIGURATION, "host", &[], ("ec2:ModifyFleet", arn!(ec2 "fleet/fleet-1"), &[]), false),
    (
        CONFIGURATION,
        "host",
        &[],
        ("ec2:ModifySpotFleetRequest", arn!(ec2 "spot-fleet-request/sfr-1"), &[OF_THE_SITE]),
        true,
    ),
    (CONFIGURATION, "host", &[], ("ec2:ModifySpotFleetRequest", arn!(ec2 "spot-fleet-request/sfr-1"), &[]), false),
    (CONFIGURATION, "host", &[], ("autoscaling:SetDesiredCapacity", arn!(group "www"), &[OF_THE_SITE]), true),
    (CONFIGURATION, "host", &[], ("autoscaling:SetDesiredCapacity", arn!(group "shop"), &[OF_OTHERS]), false),
    (CONFIGURATION, "host", &[], ("autoscaling:TerminateInstanceInAutoScalingGroup", arn!(group "shop"), &[]), false),
    (CONFIGURATION, "operator", &[], ("autoscaling:SetDesiredCapacity", arn!(group "shop"), &[]), false),
    (NAMED, "host", &[], ("autoscaling:SetDesiredCapacity", arn!(group "www"), &[]), true),
    (NAMED, "host", &[], ("autoscaling:SetDesiredCapacity", arn!(group "shop"), &[OF_THE_SITE]), false),
    (NAMED, "host", &[], ("ec2:ModifyFleet", arn!(ec2 "fleet/fleet-1"), &[OF_THE_SITE]), false),
    (NAMED, "host", &[], ("ec2:TerminateInstances", arn!(ec2 "instance/i-1"), &[OF_THE_SITE]), false),
    (CONFIGURATION, "host", &[], ("ec2:TerminateInstances", arn!(ec2 "instance/i-1"), &[OF_THE_SITE]), true),
    (CONFIGURATION, "host", &[], ("ec2:TerminateInstances", arn!(ec2 "instance/i-1"), &[OF_OTHERS]), false),
    (CONFIGURATION, "host", &[], ("ec2:TerminateInstances", arn!(ec2 "instance/i-1"), &[]), false),
    (
        CONFIGURATION,
        "host",
        &["--fleet", "ec2-fleet"],
        ("ec2:ModifyFleet", arn!(ec2 "fleet/fleet-1"), &[OF_THE_SITE]),
        true,
    ),
    (
        CONFIGURATION,
        "host",
        &["--fleet", "ec2-fleet"],
        ("autoscaling:SetDesiredCapacity", arn!(group "www"), &[OF_THE_SITE]),
        false,
    ),
    (
        CONFIGURATION,
        "host",
        &["--fleet", "auto-scaling-group"],
        ("ec2:TerminateInstances", arn!(ec2 "instance/i-1"), &[OF_THE_SITE]),
        false,
    ),
    (CONFIGURATION, "host", &[], ("ec2:RunInstances", arn!(ec2 "instance/*"), &[]), false),
    (CONFIGURATION, "host", &[], ("ec2:CreateTags", arn!(ec2 "instance/i-1"), &[]), false),
    // An Elastic IP is led to hosts of the site alone, by each of the three that AWS asks for.
    (ELASTIC, "host", &[], ("ec2:AssociateAddress", arn!(ec2 "elastic-ip/eipalloc-0123456789abcdef0"), &[]), true),
    (ELASTIC, "host", &[], ("ec2:AssociateAddress", arn!(ec2 "elastic-ip/eipalloc-0fedcba9876543210"), &[]), false),
    (ELASTIC, "host", &[], ("ec2:AssociateAddress", arn!(ec2 "network-interface/eni-1"), &[OF_THE_SITE]), true),
    (ELASTIC, "host", &[], ("ec2:AssociateAddress", arn!(ec2 "network-interface/eni-1"), &[]), false),
    (ELASTIC, "host", &[], ("ec2:AssociateAddress", arn!(ec2 "instance/i-1"), &[OF_THE_SITE]), true),
    (ELASTIC, "host", &[], ("ec2:AssociateAddress", arn!(ec2 "instance/i-1"), &[OF_OTHERS]), false),
    // A customer's key, where one is named.
    (
        CONFIGURATION,
        "host",
        &["--key", "arn:aws:kms:eu-central-1:123456789012:key/1"],
        ("kms:GenerateDataKey", "arn:aws:kms:eu-central-1:123456789012:key/1", &[]),
        true,
    ),
    (
        CONFIGURATION,
        "publisher",
        &["--key", "arn:aws:kms:eu-central-1:123456789012:key/1"],
        ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/1", &[]),
        true,
    ),
    (
        CONFIGURATION,
        "host",
        &["--key", "arn:aws:kms:eu-central-1:123456789012:key/1"],
        ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/2", &[]),
        false,
    ),
    (CONFIGURATION, "host", &[], ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/1", &[]), false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_allow_what_is_of_the_site_and_nothing_else() {
    let mut wrong = Vec::new();
    for (configuration, who, further, question, allowed) in TABLE {
        let further: Vec<&str> = ["--region", "eu-central-1"].iter().chain(further.iter()).copied().collect();
        let policy = Policy::printed(configuration, who, &further).await.expect(configuration);
        let judged = policy.judges(&[need(*question)]).await;
        if matches!(judged.as_slice(), [Judged::Allowed(_)]) != *allowed {
            wrong.push(format!(
                "{who} {further:?}: {question:?} should be {}",
                if *allowed { "allowed" } else { "denied" }
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The judge knows which keys an action has: the right condition on the wrong action never holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn condition_on_a_key_that_the_action_does_not_know_never_holds() {
    let policy = |action: &str| {
        Policy::parse(&format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"Find","Effect":"Allow","Action":["{action}"],
                "Resource":["arn:aws:s3:::sites"],"Condition":{{"StringLike":{{"s3:prefix":"www/*"}}}}}}]}}"#
        ))
    };
    for (action, judged) in [
        ("s3:ListBucket", Judged::Allowed("Find".to_owned())),
        ("s3:ListBucketVersions", Judged::Allowed("Find".to_owned())),
        ("s3:ListBucketMultipartUploads", Judged::Denied),
    ] {
        let asked = Need {
            action: action.to_owned(),
            resource: "arn:aws:s3:::sites".to_owned(),
            keys: [("s3:prefix".to_owned(), vec!["www/".to_owned()])].into(),
        };
        assert_eq!(policy(action).judges(&[asked]).await, [judged], "{action}");
    }
}
