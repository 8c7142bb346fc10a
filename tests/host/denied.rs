//! The world lets through what the printed policy allows, and refuses the rest as AWS words it.

use nix::sys::signal::Signal;
use serde_json::json;
use world::{Account, FleetKind, Instance, Need, Operator, Policy, Publisher, Site, World, eventually};

use crate::{
    SOON,
    hosts::{LONG, fleet, noted},
    published, serving,
};

/// The policy that is printed for the configuration of that instance.
async fn printed(instance: &Instance) -> Policy {
    let text = toml::to_string(&instance.configuration).expect("TOML");
    Policy::printed(&text, "host", &[]).await.expect("a valid configuration")
}

/// Without one statement the call that it is for fails here, and the host says what is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_without_a_statement_makes_its_call_fail() {
    let table = [
        ("FindThePackage", "ListObjectsV2", "s3:ListBucket"),
        ("FetchThePackage", "HeadObject|GetObject", "s3:GetObject"),
        ("KeepTheIdentity", "GetSecretValue", "secretsmanager:GetSecretValue"),
        ("SeeWhereTheNamesLead", "ListResourceRecordSets", "route53:ListResourceRecordSets"),
        ("MoveTheNames", "ChangeResourceRecordSets", "route53:ChangeResourceRecordSets"),
    ];
    let tried = table.map(async |(sid, operation, action)| {
        let (instance, _) = published(&Site::titled("denied")).await;
        instance.aws.obey(&printed(&instance).await.without(sid));
        let mut agent = instance.start();
        // The answer to HEAD has no words of IAM.
        let said = match action {
            "s3:GetObject" => "403 Forbidden".to_owned(),
            _ => format!("is not authorized to perform: {action} on resource: "),
        };
        agent
            .wait_for(&format!("{action} is missing"), SOON, async |agent| {
                agent.status().to_string().contains(&said)
                    && agent.status().to_string().contains(&format!("allow {action}"))
            })
            .await;
        let calls = instance.aws.calls();
        let of_it: Vec<_> = calls.iter().filter(|call| operation.split('|').any(|one| one == call.operation)).collect();
        assert!(of_it.iter().any(|call| matches!(call.status, Some(400 | 403))), "{sid}: {of_it:?}");
        assert_ne!(agent.status()["phase"], "serving", "{sid}");
    });
    futures_util::future::join_all(tried).await;
}

/// What is not the host's to do is refused, whatever it sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_with_another_configuration_is_refused_what_is_not_its_own() {
    let (instance, _) = published(&Site::titled("others")).await;
    let mut other = instance.configuration.clone();
    other.insert("domain".to_owned(), "other.example.org".into());
    let policy = Policy::printed(&toml::to_string(&other).expect("TOML"), "host", &[]).await.expect("valid");
    instance.aws.obey(&policy);
    let mut agent = instance.start();
    let denied =
        async |agent: &world::Agent| agent.status().to_string().contains("route53:ChangeResourceRecordSets on");
    agent.wait_for("it may not change the records", SOON, denied).await;
    assert!(instance.account.records().await.is_empty());
    // By one switch everything is allowed.
    instance.aws.allow_everything();
    agent.wait_until_serving(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_needs_the_right_to_write_and_no_right_to_see_uploads() {
    let account = Account::new().await;
    let publisher = Publisher::of(&account).await;
    let text = format!(
        "domain = \"{}\"\npackage = \"s3://{}/{}\"\nvault = \"unused\"\n[acme]\ndirectory = \"internal\"\n",
        account.domain(),
        account.bucket,
        account.prefix()
    );
    let policy = Policy::printed(&text, "publisher", &[]).await.expect("valid");
    publisher.write(&Site::titled("published"));
    publisher.aws.obey(&policy.without("PublishPackages"));
    let refused = publisher.publish(&[]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("allow s3:PutObject"), "{refused:?}");
    publisher.aws.obey(&policy.without("FindUnfinishedUploads"));
    let ended = publisher.publish(&[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let looked = publisher.aws.calls().into_iter().rfind(|call| call.operation == "ListMultipartUploads");
    assert_eq!(looked.and_then(|call| call.status), Some(403));
}

/// A fleet without the tag of the site is none of it: its target is left alone, and `status` and `doctor` name the tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleet_without_the_tag_of_the_site_is_left_alone_and_named() {
    let fleet = fleet(FleetKind::Ec2, &Site::titled("untagged"), "").await;
    let old = fleet.owner_other_than(None, SOON).await;
    noted(&fleet).await;
    fleet.account.untag(&fleet.id).await;
    let operator = Operator::of(&fleet.account).await;
    let ended = operator.doctor(&old.instance.configuration, &["--json"]).await;
    let command = format!("aws ec2 create-tags --resources {} --tags Key=spothost:domain", fleet.id);
    assert!(ended.stdout.contains("no tag spothost:domain") && ended.stdout.contains(&command), "{ended:?}");
    fleet.set_target(2).await;
    fleet.owner_other_than(Some(&old), SOON).await;
    eventually("it says so", LONG, async || old.has_said("allow ec2:ModifyFleet") && old.has_said(&command)).await;
    assert_eq!((fleet.target().await, fleet.size().await), (2, 2), "nothing was set, and nothing ended");
    old.signal(Signal::SIGTERM);
}

/// What docs/publish.md promises to a person: the verdict on a package may be deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_may_delete_a_verdict_and_nothing_else_of_the_packages() {
    let (instance, _visitor, agent) = serving(&Site::titled("judged")).await;
    let verdicts = instance.account.names(".spothost/verdicts/").await;
    let operator = Operator::of(&instance.account).await;
    operator.aws.record_for(&toml::to_string(&instance.configuration).expect("TOML"));
    let aws = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(World::tool("ground/bin/aws"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").expect("PATH is set"));
        let output = command.envs(operator.variables()).output().await.expect("the AWS command line starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let at = |name: &str| format!("s3://{}/{}{name}", instance.account.bucket, instance.account.prefix());
    let deleted = aws(&["s3", "rm", &at(&verdicts[0])]).await;
    assert!(deleted.0, "{deleted:?}");
    assert!(instance.account.names(".spothost/verdicts/").await.is_empty());
    let refused = aws(&["s3", "rm", &at("site-latest.zip")]).await;
    assert!(!refused.0 && refused.1.contains("s3:DeleteObject"), "{refused:?}");
    drop(agent);
}

/// The judge is not ours: it knows by AWS's own reference which condition keys an action has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn judge_has_the_reference_of_aws_and_the_answer_is_known_the_second_time() {
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Sid": "Find", "Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
        "Resource": ["arn:aws:s3:::sites"], "Condition": { "StringLike": { "s3:prefix": "www/*" } },
    }] });
    let policy = Policy::parse(&policy.to_string());
    let need = |action: &str| Need {
        action: action.to_owned(),
        resource: "arn:aws:s3:::sites".to_owned(),
        keys: [("s3:prefix".to_owned(), vec!["www/".to_owned()])].into(),
    };
    let needs = [need("s3:ListBucket"), need("s3:ListBucketMultipartUploads")];
    let judged = policy.judges(&needs).await;
    assert_eq!(judged, [world::Judged::Allowed("Find".to_owned()), world::Judged::Denied]);
    let begun = std::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(policy.judges(&needs).await, judged);
    }
    assert!(begun.elapsed().as_secs() < 1, "a thousand questions took {:?}", begun.elapsed());
}
