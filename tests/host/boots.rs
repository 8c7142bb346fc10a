//! A bare instance becomes its site's host.

use std::{
    io::Read,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use http::Method;
use time::OffsetDateTime;
use toml::Value;
use world::{Fault, Instance, Rule, Service, Site, eventually};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{SOON, front, published, serving};

fn names_on(certificate: &[u8]) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).expect("a certificate");
    let names = certificate.subject_alternative_name().expect("a valid extension").expect("names").value;
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.general_names.iter().filter_map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_serves_a_large_site_with_a_certificate_of_the_ca() {
    let site = Site::of_files("large", 520);
    let (instance, visitor, _agent) = serving(&site).await;

    let paths: Vec<_> = site.files().iter().map(|(name, _)| format!("/{name}")).collect();
    for h2 in [false, true] {
        let answers = visitor.get_each(&paths, h2).await.expect("every file");
        for ((name, body), answer) in site.files().iter().zip(answers) {
            assert_eq!((answer.status.as_u16(), &answer.body), (200, body), "{name}");
        }
    }
    let (name, body) =
        site.files().iter().find(|(name, _)| name.starts_with("part-1/") && name.ends_with("html")).expect("a page");
    let path = format!("/{name}");
    let packed = visitor.ask(Method::GET, &path, &[("accept-encoding", "gzip")], true).await.expect("a packed page");
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.body.as_ref()).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, *body);
    // That it chains to the CA is what the visitor's TLS checks.
    let front = visitor.get("/").await.expect("the front page");
    assert_eq!(names_on(&front.certificate), [instance.account.domain()]);
    assert_eq!(instance.acme.accepted("finalize"), 1);
    eventually("the domain leads here", SOON, async || instance.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_is_published_only_after_the_host_answers() {
    let instance = Instance::new().await;
    let domain = instance.account.domain();
    let visitor = instance.visitor();
    let mut agent = instance.start();
    agent.wait_for_phase("certificate", "kept", SOON).await;
    // Everything is there but a package: the host says so to visitors, and the name stays where it was.
    agent.wait_for_phase("package", "failing", SOON).await;
    let answer = visitor.get("/").await.expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(instance.account.answers(&domain, "A").await, Vec::<String>::new());

    instance.account.put("site-latest.zip", Site::titled("first").zip()).await;
    eventually("the domain leads here", SOON, async || instance.is_led_to().await).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("first")), "it leads to what does not answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_answers_503_at_once_while_s3_is_down() {
    let (instance, visitor) = published(&Site::titled("late")).await;
    instance.aws.add(Rule::new(Fault::Hang).of(Service::S3));
    let begun = Instant::now();
    let mut agent = instance.start();
    agent
        .wait_for("an answer over HTTP", SOON, async |_| {
            let answer = visitor.get_plain(instance.http(), "/").await;
            answer.is_ok_and(|answer| answer.status == 503 && !answer.header("retry-after").is_empty())
        })
        .await;
    println!("503 with Retry-After after {:?}", begun.elapsed());
    agent.wait_for_phase("certificate", "kept", SOON).await;
    agent.wait_for("503", SOON, async |_| visitor.get("/").await.is_ok_and(|answer| answer.status == 503)).await;
    instance.aws.lift();
    let back = Instant::now();
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
    println!("the site {:?} after S3 was back", back.elapsed());
    agent.wait_until_serving(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacement_reuses_the_certificate_of_the_host_before_it() {
    let (first, visitor, agent) = serving(&Site::titled("shared")).await;
    let before = visitor.get("/").await.expect("the front page").certificate;
    assert_eq!(agent.stop().await, Some(0));

    let second = first.successor().await;
    let mut agent = second.start();
    agent.wait_until_serving(SOON).await;
    let after = second.visitor().get("/").await.expect("the front page").certificate;
    assert_eq!(before, after);
    let made = ["newAccount", "newOrder", "finalize"].map(|resource| second.acme.accepted(resource));
    assert_eq!(made, [1, 1, 1], "the second went to the CA as well");
    eventually("the domain leads to the second", SOON, async || second.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_start_with_s3_down_serves_the_last_good_package() {
    let (instance, visitor, agent) = serving(&Site::titled("kept")).await;
    agent.kill().await;
    let orders = instance.acme.accepted("newOrder");
    let changes = instance.account.changes().await.len();

    instance.aws.add(Rule::new(Fault::refuse(500, "InternalError")).of(Service::S3));
    let begun = Instant::now();
    let mut agent = instance.start();
    let kept = async |_: &world::Agent| front(&visitor).await.is_some_and(|page| page.contains("kept"));
    agent.wait_for("the last good package", SOON, kept).await;
    println!("the last good package without S3 after {:?}", begun.elapsed());
    agent
        .wait_for("a word about S3", SOON, async |agent| agent.part("package")["fault"]["tries"].as_u64() > Some(0))
        .await;
    assert_eq!(instance.acme.accepted("newOrder"), orders, "a restart orders nothing");
    assert_eq!(instance.account.changes().await.len(), changes, "a restart changes no record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_are_certified_published_and_redirected() {
    let (mut instance, visitor) = published(&Site::titled("named")).await;
    let domain = instance.account.domain();
    let alias = instance.account.apex.clone();
    instance.configuration.insert("aliases".to_owned(), Value::Array(vec![Value::String(alias.clone())]));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;

    let redirected = visitor.asking_for(&alias).get("/style.css?a=b").await.expect("an answer for the alias");
    assert_eq!(redirected.status, 308);
    assert_eq!(redirected.header("location"), format!("https://{domain}:{}/style.css?a=b", instance.https().port()));
    let mut names = names_on(&redirected.certificate);
    names.sort();
    let mut expected = [domain.clone(), alias.clone()];
    expected.sort();
    assert_eq!(names, expected);
    let address = instance.address.to_string();
    eventually("both names lead here", SOON, async || {
        let account = &instance.account;
        account.answers(&domain, "A").await == [address.clone()]
            && account.answers(&alias, "A").await == [address.clone()]
    })
    .await;

    let plain = visitor.get_plain(instance.http(), "/style.css?a=b").await.expect("an answer over HTTP");
    assert_eq!(plain.status, 308);
    assert!(plain.header("location").starts_with(&format!("https://{domain}")), "{}", plain.header("location"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_leaves_other_challenges_alone_and_removes_its_own() {
    let (instance, _) = published(&Site::titled("challenged")).await;
    let challenge = format!("_acme-challenge.{}", instance.account.domain());
    instance.account.upsert(&challenge, "TXT", 300, &["\"of somebody else\""]).await;
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert_eq!(instance.acme.accepted("finalize"), 1);
    eventually("its own challenge is removed", SOON, async || {
        let records = instance.account.records().await;
        let left = records.iter().find(|record| record.name == format!("{challenge}."));
        left.is_some_and(|record| record.values == ["\"of somebody else\""])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_answer_waits_for_no_call_that_it_does_not_need() {
    let (instance, _) = published(&Site::titled("quick")).await;
    instance.aws.add(Rule::new(Fault::Hold).on("ListResourceRecordSets").about("_acme-challenge"));
    let mut agent = instance.start();
    let reached = async || instance.acme.accepted("directory") == 1;
    eventually("the CA is reached while the zone is looked at", SOON, reached).await;
    instance.aws.lift();
    eventually("the zone was seen", SOON, async || instance.acme.accepted("newNonce") == 1).await;
    instance.aws.add(Rule::new(Fault::Hang).on("ChangeResourceRecordSets").about("challenge is over"));
    agent.wait_until_serving(SOON).await;
    // The CA says each of these once, and is not asked again.
    let calls = instance.acme.calls();
    let order: Vec<_> =
        calls.iter().map(|call| call.operation.as_str()).take_while(|name| *name != "finalize").collect();
    let asked = |name: &str| order.iter().filter(|asked| **asked == name).count();
    assert_eq!([asked("directory"), asked("newNonce")], [1, 1], "{order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_keys_are_in_the_vault_and_in_one_private_file_in_memory() {
    let (instance, _visitor, agent) = serving(&Site::titled("secret")).await;
    let secret = instance.account.secret().await.and_then(|secret| secret.current).expect("a secret");
    assert!(secret.contains("PRIVATE KEY"), "the vault has no key");
    // The keys themselves, too: their second lines, of which no two keys have the same.
    let document: serde_json::Value = serde_json::from_str(&secret).expect("JSON");
    let key = document["certificate"]["key"].as_str().expect("a key").lines().nth(1).expect("a second line").to_owned();
    let keys = ["PRIVATE KEY", key.as_str()];
    let environment = std::fs::read(format!("/proc/{}/environ", agent.pid())).expect("its environment");
    let command_line = std::fs::read(format!("/proc/{}/cmdline", agent.pid())).expect("its arguments");
    for said in [agent.log().into_bytes(), agent.output().into_bytes(), environment, command_line] {
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(keys.iter().all(|key| !said.contains(key)), "{}", said.replace(&key, "KEY"));
    }
    let at_hand = instance.disk().join("run/identity.json");
    let mode = std::fs::metadata(&at_hand).expect("the certificate at hand").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut folders = vec![instance.disk().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a readable file")).into_owned();
            assert!(keys.iter().all(|key| text.contains(key) == (path == at_hand)), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_address_that_comes_late_is_waited_for() {
    let (instance, visitor) = published(&Site::titled("late")).await;
    instance.imds.set_public_ipv4(None);
    let mut agent = instance.start();
    agent.wait_for("the site, meanwhile", SOON, async |_| front(&visitor).await.is_some()).await;
    agent.wait_for("a word about the address", SOON, async |agent| agent.part("address")["phase"] == "waiting").await;
    assert_eq!(instance.account.answers(&instance.account.domain(), "A").await, Vec::<String>::new());
    instance.imds.set_public_ipv4(Some(instance.address));
    agent.wait_for("the domain leads here", SOON, async |_| instance.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newest_of_several_latest_packages_is_served() {
    let instance = Instance::new().await;
    for index in 0..1005 {
        instance.account.put(&format!("old/{index:04}"), "").await;
    }
    instance.account.put("a-latest.zip", Site::titled("older").zip()).await;
    let begun = OffsetDateTime::now_utc().unix_timestamp();
    // S3 tells the time of objects in whole seconds.
    eventually("the next second", SOON, async || OffsetDateTime::now_utc().unix_timestamp() > begun).await;
    instance.account.put("z-latest.zip", Site::titled("newer").zip()).await;
    instance.account.put("zz-latest.zip.part", "no package").await;
    let visitor = instance.visitor();
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("newer")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_with_both_families_is_led_to_by_both() {
    let (instance, _visitor) = published(&Site::titled("dual")).await;
    instance.imds.set_ipv6(Some("2001:db8::7".parse().expect("an address")));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    let domain = format!("{}.", instance.account.domain());
    let records = instance.account.records().await;
    let values = |kind: &str| {
        let found = records.iter().find(|record| record.name == domain && record.kind == kind);
        found.map(|record| record.values.clone()).unwrap_or_default()
    };
    assert_eq!(values("A"), [instance.address.to_string()]);
    assert_eq!(values("AAAA"), ["2001:db8::7"]);
}
