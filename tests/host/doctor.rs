//! `spothost doctor` names what is broken, with what mends it; and changes nothing.

use std::net::TcpListener;

use serde_json::{Value, json};
use world::{Ended, Fault, Instance, Operator, Rule, Service, Site};

use crate::{SOON, published, serving};

/// The lines that it told, as `subject is: said`.
fn lines(ended: &Ended) -> Vec<(String, String, String, Option<String>)> {
    let told: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    told.iter()
        .map(|line| {
            (text(line, "subject"), text(line, "is"), text(line, "said"), line["mend"].as_str().map(str::to_owned))
        })
        .collect()
}

/// What it found on that host.
async fn on(instance: &Instance) -> Ended {
    instance.command(&["doctor", "--json"]).await
}

/// Asserts that it is that, of that subject, with that in what was found, and with something that mends it.
fn names(ended: &Ended, is: &str, subject: &str, said: &str) {
    let lines = lines(ended);
    let found = lines.iter().find(|line| (line.0.as_str(), line.1.as_str()) == (subject, is) && line.2.contains(said));
    let found = found.unwrap_or_else(|| panic!("no line `{subject} {is} …{said}…` in {lines:#?}"));
    assert!(found.3.is_some() || is == "ok", "nothing mends it: {found:?}");
    let wrong = lines.iter().any(|line| line.1 == "wrong");
    assert_eq!(ended.code, Some(i32::from(wrong)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_host_is_well_and_being_looked_at_changes_nothing() {
    let (instance, _visitor, agent) = serving(&Site::titled("well")).await;
    instance.account.set_quota(32).await;
    let before = (instance.account.objects().await, instance.account.records().await);
    let secret = instance.account.secret().await.map(|secret| secret.versions.len());
    let ended = on(&instance).await;
    let told = lines(&ended);
    let off: Vec<_> = told.iter().filter(|line| line.1 != "ok" && line.0 != "instance").collect();
    assert!(off.is_empty() && ended.code == Some(0), "{told:#?}");
    for subject in [
        "configuration",
        "credentials",
        "clock",
        "rights",
        "delegation",
        "caa",
        "authority",
        "limits",
        "vault",
        "package",
        "records",
        "ports",
        "outside",
    ] {
        assert!(told.iter().any(|line| line.0 == subject), "nothing about {subject}: {told:#?}");
    }
    // This instance is of no fleet, so no fleet replaces it.
    names(&ended, "warning", "instance", "of no fleet");
    assert_eq!((instance.account.objects().await, instance.account.records().await), before);
    assert_eq!(instance.account.secret().await.map(|secret| secret.versions.len()), secret);

    let elsewhere = Operator::of(&instance.account).await.doctor(&instance.configuration, &["--json"]).await;
    for subject in ["quota", "outside", "records"] {
        names(&elsewhere, "ok", subject, "");
    }
    names(&elsewhere, "warning", "rights", "not a host");
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_launch_nothing_is_wrong_but_what_is_missing() {
    let instance = Instance::new().await;
    let operator = Operator::of(&instance.account).await;
    let ended = operator.doctor(&instance.configuration, &["--json"]).await;
    names(&ended, "wrong", "package", "ends in -latest");
    instance.account.put("site-latest.zip", Site::titled("first").zip()).await;
    let ended = operator.doctor(&instance.configuration, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for said in ["the first host orders", "no host holds the names yet", "no host has judged it yet", "--role"] {
        assert!(ended.stdout.contains(said), "nothing of {said}:\n{}", ended.stdout);
    }
    assert!(operator.aws.writes().is_empty(), "{:?}", operator.aws.writes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_that_cannot_be_used_is_named_with_its_line() {
    let operator = Operator::of(&world::Account::new().await).await;
    let table = toml::from_str("domian = \"www.example.org\"").expect("TOML");
    let ended = operator.doctor(&table, &["--json"]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    let told = lines(&ended);
    assert!(told.len() == 1 && told[0].2.contains("spothost.toml:1: unknown field `domian`"), "{told:?}");

    // One that is not there has no line to correct.
    let ended = operator.run(&["doctor", "--config", "/nowhere/spothost.toml", "--json"]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stdout.contains("write one: spothost init") && !ended.stdout.contains("os error"), "{ended:?}");
}

/// A way in which a set-up is broken: what is done to a published site that no host serves yet.
type Break = fn(&mut Instance) -> futures_util::future::LocalBoxFuture<'_, ()>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_to_the_host_is_named_with_the_statement_that_is_missing() {
    let (instance, _) = published(&Site::titled("denied")).await;
    instance.account.put_secret("{}").await;
    let table = [
        ("PutObject", Some("verdicts"), "LeaveVerdicts", "s3:PutObject"),
        ("PutObject", Some("lease"), "TakeTurnsOrdering", "s3:PutObject"),
        ("ListObjectVersions", None, "FindThePackage", "s3:ListBucketVersions"),
        ("GetObject", None, "FetchThePackage", "s3:GetObject"),
        ("PutSecretValue", None, "KeepTheIdentity", "secretsmanager:PutSecretValue"),
        ("UpdateSecretVersionStage", None, "KeepTheIdentity", "secretsmanager:UpdateSecretVersionStage"),
        ("CreateSecret", None, "CreateTheIdentity", "secretsmanager:CreateSecret"),
        ("ChangeResourceRecordSets", None, "MoveTheNames", "route53:ChangeResourceRecordSets"),
        ("GetChange", None, "WaitForTheChange", "route53:GetChange"),
        ("DescribeFleets", None, "SeeTheEc2Fleet", "ec2:DescribeFleets"),
        ("TerminateInstances", None, "EndAHostOfTheSite", "ec2:TerminateInstances"),
    ];
    for (operation, about, ..) in table {
        let rule = Rule::new(Fault::denied()).on(operation);
        instance.aws.add(about.map_or_else(|| rule.clone(), |about| rule.clone().about(about)));
    }
    let objects = instance.account.objects().await;
    let ended = on(&instance).await;
    let told = lines(&ended);
    for (_, _, sid, action) in table {
        let line = told.iter().find(|line| line.2.starts_with(sid)).expect(sid);
        let (_, is, said, _) = line;
        assert!(is == "wrong" && said.contains(&format!("{action} (AccessDenied")), "{line:?}");
    }
    let allowed = told.iter().find(|line| line.2.starts_with("SayWhatIsServed")).expect("told");
    assert_eq!(allowed.1, "ok", "{allowed:?}");
    let mends: Vec<_> = lines(&ended).into_iter().filter(|line| line.0 == "rights").filter_map(|line| line.3).collect();
    assert!(mends.iter().all(|mend| mend.contains("put-role-policy --role-name host")), "{mends:?}");
    assert_eq!(instance.account.objects().await, objects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_of_the_role_are_reckoned_from_elsewhere() {
    let (instance, _) = published(&Site::titled("reckoned")).await;
    let operator = Operator::of(&instance.account).await;
    let path = operator.home().join("spothost.toml").display().to_string();
    let role = ["--json", "--role", "site-role"];
    let ended = operator.doctor(&instance.configuration, &role).await;
    names(&ended, "warning", "rights", "NoSuchEntity");
    let printed =
        operator.run(&["policy", "--region", "us-east-1", "--account", &instance.account.id, "--config", &path]).await;
    instance.account.make_role("site-role", &printed.stdout).await;
    let ended = operator.doctor(&instance.configuration, &role).await;
    let told = lines(&ended);
    let rights: Vec<_> = told.iter().filter(|line| line.0 == "rights").collect();
    assert!(rights.len() > 12 && rights.iter().all(|line| line.1 == "ok"), "{told:#?}");

    let less = printed.stdout.replace("\"route53:GetChange\"", "\"route53:GetZone\"").replace("_spothost.", "_other.");
    instance.account.make_role("less", &less).await;
    let ended = operator.doctor(&instance.configuration, &["--json", "--role", "less"]).await;
    names(&ended, "wrong", "rights", "WaitForTheChange: denied: route53:GetChange");
    names(&ended, "wrong", "rights", "MoveTheNames: denied: route53:ChangeResourceRecordSets");
    operator.aws.add(Rule::new(Fault::denied()).of(Service::Iam));
    let ended = operator.doctor(&instance.configuration, &role).await;
    names(&ended, "warning", "rights", "AccessDenied");
    assert!(operator.aws.writes().is_empty(), "{:?}", operator.aws.writes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_set_ups_are_named_each_by_the_right_line() {
    let table: [(&str, &str, &str, Break); 22] = [
        ("wrong", "delegation", "does not know", |site| Box::pin(async { site.account.delegate("").await })),
        ("wrong", "delegation", "are not those of zone", |site| {
            Box::pin(async { site.account.delegate("ns1.elsewhere.example. ns2.elsewhere.example.").await })
        }),
        ("warning", "delegation", "1 of its 4", |site| {
            Box::pin(async { site.account.delegate("ns-2048.awsdns-64.com.").await })
        }),
        ("wrong", "delegation", "is not within the zone", |site| {
            site.configuration.insert("aliases".into(), vec![toml::Value::from("www.elsewhere.example")].into());
            Box::pin(async {})
        }),
        ("wrong", "delegation", "NoSuchHostedZone", |site| {
            site.configuration.insert("zone".into(), "Z00000000000".into());
            Box::pin(async {})
        }),
        ("wrong", "caa", "other.example may", |site| {
            Box::pin(async { seen(site, &site.account.apex, "0 issue \"other.example\"").await })
        }),
        ("wrong", "caa", "only by http-01", |site| {
            let value = "0 issue \"pebble.letsencrypt.org; validationmethods=http-01\"";
            Box::pin(async move { seen(site, &site.account.domain(), value).await })
        }),
        ("wrong", "authority", "does not offer the profile", |site| {
            site.configuration["acme"]["profile"] = "unheard-of".into();
            Box::pin(async {})
        }),
        ("wrong", "authority", "503", |site| {
            site.acme.add(Rule::new(Fault::refuse(503, "serverInternal")).on("directory"));
            Box::pin(async {})
        }),
        ("wrong", "authority", "requires an account with it (external account binding)", |site| {
            let said = "\"externalAccountRequired\": true".to_owned();
            site.acme.add(Rule::new(Fault::Say(said, "\"externalAccountRequired\": false")).on("directory"));
            Box::pin(async {})
        }),
        ("wrong", "records", "no host of this site has made", |site| {
            Box::pin(async { site.account.upsert(&site.account.domain(), "A", 60, &["192.0.2.1"]).await })
        }),
        ("wrong", "records", "it is an alias of d1.cloudfront.net", |site| {
            Box::pin(async {
                site.account.alias(&site.account.domain(), "A", "d1.cloudfront.net").await;
            })
        }),
        ("wrong", "records", "a CNAME to a.example", |site| {
            Box::pin(async { site.account.upsert(&site.account.domain(), "CNAME", 60, &["a.example."]).await })
        }),
        ("wrong", "records", "is no claim", |site| {
            let name = format!("_spothost.{}", site.account.domain());
            Box::pin(async move { site.account.upsert(&name, "TXT", 60, &["\"v=spf1 -all\""]).await })
        }),
        ("wrong", "vault", "AccessDenied", |site| {
            site.aws.add(Rule::new(Fault::denied()).on("GetSecretValue"));
            Box::pin(async {})
        }),
        ("wrong", "vault", "reading the vault", |site| {
            Box::pin(async { site.account.put_secret("my password").await })
        }),
        ("wrong", "package", "ends in -latest", |site| {
            Box::pin(async { site.account.delete("site-latest.zip").await })
        }),
        ("warning", "package", "also says that it is the latest", |site| {
            Box::pin(async { site.account.copy("site-latest.zip", "other-latest.zip").await })
        }),
        ("wrong", "package", "NoSuchBucket", |site| {
            site.configuration.insert("package".into(), "s3://nobodys-bucket/www/".into());
            Box::pin(async {})
        }),
        ("wrong", "ports", "no program listens", |_| Box::pin(async {})),
        ("wrong", "clock", "ahead of", |site| {
            let then = "Sat, 21 Nov 2020 12:00:00 GMT".to_owned();
            site.aws.add(Rule::new(Fault::Tell("date", then)).on("GetCallerIdentity"));
            Box::pin(async {})
        }),
        ("wrong", "instance", "metadata is disabled", |site| {
            site.imds.enable(false);
            let keys = &site.account;
            // Keys of somebody else, in the place of those that the profile gives.
            for (name, value) in [
                ("AWS_SDK_UA_APP_ID", "operator"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", &keys.access_key),
                ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
                ("AWS_SESSION_TOKEN", &keys.session_token),
            ] {
                site.environment.push((name.to_owned(), value.to_owned()));
            }
            Box::pin(async {})
        }),
    ];
    let examined = table.map(async |(is, subject, said, how)| {
        let (mut instance, _) = published(&Site::titled("broken")).await;
        how(&mut instance).await;
        (is, subject, said, on(&instance).await)
    });
    for (is, subject, said, ended) in futures_util::future::join_all(examined).await {
        names(&ended, is, subject, said);
    }
}

/// Makes a CAA record and waits until name servers tell it.
async fn seen(instance: &Instance, name: &str, value: &str) {
    instance.account.upsert(name, "CAA", 60, &[value]).await;
    world::eventually("it is told", SOON, async || instance.account.answers(name, "CAA").await == [value]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_hosts_are_named_each_by_the_right_line() {
    let (instance, _visitor, agent) = serving(&Site::titled("broken")).await;
    let account = &instance.account;
    let id = instance.imds.instance_id();
    account.set_up(id, &json!({ "HttpTokens": "optional", "HttpPutResponseHopLimit": 2 }), None).await;
    let ended = on(&instance).await;
    for said in ["without a token", "travels 2 hops", "no tag spothost:domain"] {
        names(&ended, "warning", "instance", said);
    }
    account.set_quota(2).await;
    let operator = Operator::of(account).await;
    let ended = operator.doctor(&instance.configuration, &["--json"]).await;
    names(&ended, "wrong", "quota", "2 processors");
    operator.aws.add(Rule::new(Fault::denied()).of(Service::ServiceQuotas));
    let ended = operator.doctor(&instance.configuration, &["--json"]).await;
    names(&ended, "warning", "quota", "AccessDenied");

    // A record that somebody has changed by hand, and a host that is gone.
    agent.kill().await;
    account.upsert(&account.domain(), "A", 60, &["127.0.0.9"]).await;
    world::eventually("the record is seen", SOON, async || {
        account.answers(&account.domain(), "A").await == ["127.0.0.9"]
    })
    .await;
    let ended = operator.doctor(&instance.configuration, &["--json"]).await;
    names(&ended, "wrong", "records", "does not answer");
    names(&ended, "warning", "records", "leads to 127.0.0.9");
    names(&ended, "wrong", "outside", "does not answer");
    account.end(id).await;
    let ended = operator.doctor(&instance.configuration, &["--json"]).await;
    names(&ended, "wrong", "records", "is gone");

    // Something else at its ports.
    let _others = [instance.http(), instance.https()].map(|at| TcpListener::bind(at).expect("free again"));
    let ended = on(&instance).await;
    names(&ended, "wrong", "ports", "another program than the agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_hosts_refused_is_named_with_their_reasons() {
    let (instance, _) = published(&Site::titled("refused").with("site.toml", "[gate]\n\"/missing\" = 200\n")).await;
    let mut agent = instance.start();
    let refused = async |_: &world::Agent| !instance.account.names(".spothost/verdicts/").await.is_empty();
    agent.wait_for("a verdict", SOON, refused).await;
    names(&on(&instance).await, "wrong", "package", "was refused by");
    assert_eq!(agent.stop().await, Some(0));
}
