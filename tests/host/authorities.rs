//! What CAs do, and what hosts make of it: two CAs, external accounts, staging, profiles, limits, lost accounts.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use time::OffsetDateTime;
use toml::Value;
use world::{AcmeProxy, Agent, Ca, Call, Fault, Instance, Rule, Service, Site, Visitor, World, eventually};

use crate::{SOON, published, serving};

fn acme(instance: &mut Instance) -> &mut toml::Table {
    instance.configuration.get_mut("acme").and_then(Value::as_table_mut).expect("[acme]")
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// What `[acme.fallback]` is to say for the way to a CA.
fn other(way: &AcmeProxy, profile: bool) -> toml::Table {
    let mut table = toml::Table::new();
    table.insert("directory".to_owned(), text(way.directory()));
    table.insert("roots".to_owned(), text(way.roots().display().to_string()));
    if profile {
        table.insert("profile".to_owned(), text("tlsserver"));
    }
    table
}

async fn leaf(visitor: &Visitor) -> Vec<u8> {
    visitor.get("/").await.map(|answer| answer.certificate).unwrap_or_default()
}

async fn stored(instance: &Instance) -> serde_json::Value {
    let secret = instance.account.secret().await.and_then(|secret| secret.current).unwrap_or_default();
    serde_json::from_str(&secret).unwrap_or_default()
}

fn says(agent: &Agent, word: &str) -> bool {
    agent.part("certificate")["fault"].to_string().contains(word)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_that_refuses_most_nonces_certifies_all_the_same() {
    let (mut instance, _) = published(&Site::titled("patient")).await;
    let ca = Ca::refusing(60).await;
    instance.goes_to(&ca.proxy().await);
    let mut agent = instance.start();
    agent.wait_until_serving(2 * SOON).await;
    assert_eq!(instance.acme.accepted("finalize"), 1);
    assert!(!leaf(&ca.visitor(&instance)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_and_order_that_the_ca_has_lost_are_made_anew() {
    let (mut instance, _) = published(&Site::titled("lost")).await;
    let ca = Ca::refusing(5).await;
    instance.goes_to(&ca.proxy().await);
    // The CA has issued, but the host does not hear of it.
    instance.acme.add(Rule::new(Fault::Hang).on("certificate"));
    let agent = instance.start();
    eventually("the order is finalized", SOON, async || instance.acme.accepted("finalize") == 1).await;
    agent.kill().await;
    instance.acme.lift();
    ca.forget().await;
    let mut agent = instance.start();
    agent.wait_for_phase("certificate", "kept", 4 * SOON).await;
    assert_eq!((instance.acme.accepted("newAccount"), instance.acme.accepted("newOrder")), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_ca_certifies_when_the_first_is_down() {
    let (mut instance, _) = published(&Site::titled("two CAs")).await;
    let second = AcmeProxy::start().await;
    instance.acme.add(Rule::new(Fault::Reset));
    let profiles = World::shared().acme_has_profiles();
    acme(&mut instance).insert("fallback".to_owned(), Value::Table(other(&second, profiles)));
    let mut agent = instance.start();
    agent.wait_until_serving(2 * SOON).await;
    assert_eq!(second.accepted("finalize"), 1);
    assert_eq!(stored(&instance).await["certificate"]["directory"], second.directory());
    // What it issued is as good as the first one's: nothing more is ordered when that is back.
    instance.acme.lift();
    let mut successor = instance.successor().await;
    successor.configuration.insert("acme".to_owned(), instance.configuration["acme"].clone());
    let mut agent = successor.start();
    agent.wait_until_serving(SOON).await;
    assert_eq!((instance.acme.accepted("newOrder"), second.accepted("newOrder")), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_is_bound_to_the_external_one_that_the_ca_wants() {
    let (mut instance, _) = published(&Site::titled("bound")).await;
    let ca = Ca::for_external_accounts().await;
    instance.goes_to(&ca.proxy().await);
    let mut agent = instance.start();
    agent.wait_for("a word about [acme.eab]", SOON, async |agent| says(agent, "acme.eab")).await;
    agent.kill().await;

    let key = instance.disk().join("eab");
    fs::write(&key, &ca.mac_key).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let mut eab = toml::Table::new();
    eab.insert("kid".to_owned(), text("spothost"));
    eab.insert("key_file".to_owned(), text(key.display().to_string()));
    acme(&mut instance).insert("eab".to_owned(), Value::Table(eab));
    let mut agent = instance.start();
    agent.wait_for("a word about its mode", SOON, async |agent| says(agent, "mode 644")).await;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    agent.wait_until_serving(3 * SOON).await;
    assert!(!agent.log().contains(&ca.mac_key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_of_the_external_account_may_lie_in_a_secret() {
    let (mut instance, _) = published(&Site::titled("bound")).await;
    let ca = Ca::for_external_accounts().await;
    instance.goes_to(&ca.proxy().await);
    let secret = format!("{}/eab", instance.account.domain());
    let mut eab = toml::Table::new();
    eab.insert("kid".to_owned(), text("spothost"));
    eab.insert("key_secret".to_owned(), text(secret.clone()));
    acme(&mut instance).insert("eab".to_owned(), Value::Table(eab));
    let mut agent = instance.start();
    agent.wait_for("a word about the secret", SOON, async |agent| says(agent, "it has no value")).await;
    instance.account.put_in_secret(&secret, ca.mac_key.clone()).await;
    agent.wait_until_serving(3 * SOON).await;
    assert_eq!(instance.acme.accepted("newAccount"), 1);
    assert!(!agent.log().contains(&ca.mac_key) && !stored(&instance).await.to_string().contains(&ca.mac_key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_that_failed_is_tried_at_the_staging_ca_before_it_is_tried_again() {
    let (mut instance, _) = published(&Site::titled("staged")).await;
    let staging = AcmeProxy::start().await;
    acme(&mut instance).insert("staging".to_owned(), text(staging.directory()));
    // Both ways are through proxies with an authority of their own, and the configuration names one file of roots.
    let mut roots = fs::read_to_string(instance.acme.roots()).expect("a file");
    roots += &fs::read_to_string(staging.roots()).expect("a file");
    let both = instance.disk().join("roots.pem");
    fs::write(&both, roots).expect("written");
    acme(&mut instance).insert("roots".to_owned(), text(both.display().to_string()));
    instance.acme.add(Rule::new(Fault::refuse(403, "unauthorized")).on("challenge").times(1));
    let mut agent = instance.start();
    agent.wait_for_phase("certificate", "failing", SOON).await;
    assert_eq!(staging.accepted("newOrder"), 0, "nothing had failed yet");
    // A minute is waited after the first proof that failed.
    agent.wait_until_serving(4 * SOON).await;
    assert_eq!((staging.accepted("newOrder"), staging.accepted("finalize")), (1, 0));
    // Pebble refuses a nonce now and then, and an order that is sent anew for that is none of its own.
    let made = |calls: Vec<Call>, nth: usize| {
        let accepted = |call: &Call| call.operation == "newOrder" && call.status == Some(201);
        let orders: Vec<_> = calls.into_iter().filter(accepted).collect();
        orders[nth].started
    };
    assert!(made(staging.calls(), 0) < made(instance.acme.calls(), 1), "staging came before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profile_that_the_ca_does_not_offer_is_refused_with_those_it_does() {
    if !World::shared().acme_has_profiles() {
        eprintln!("this release of Pebble has no profiles; nothing was tried");
        return;
    }
    let (mut instance, _) = published(&Site::titled("profiled")).await;
    acme(&mut instance).insert("profile".to_owned(), text("longlived"));
    let mut agent = instance.start();
    agent.wait_for("the profiles on offer", SOON, async |agent| says(agent, "tlsserver")).await;
    assert!(says(&agent, "longlived") && says(&agent, "shortlived") && says(&agent, "correct [acme] profile"));
    assert_eq!((instance.acme.accepted("newAccount"), instance.acme.accepted("newOrder")), (0, 0));
    assert!(instance.account.secret().await.is_none(), "nothing was tried, so nothing is written down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_of_a_minute_is_renewed_under_load_and_no_handshake_fails() {
    if !World::shared().acme_has_profiles() {
        eprintln!("this release of Pebble has no profiles; nothing was tried");
        return;
    }
    let (mut instance, _) = published(&Site::titled("short")).await;
    acme(&mut instance).insert("profile".to_owned(), text("tiny"));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    let mut leaves = vec![leaf(&instance.visitor()).await];
    let until = std::time::Instant::now() + Duration::from_secs(180);
    // Every visitor makes a whole handshake, and verifies the certificate.
    while leaves.len() < 3 {
        let answer = instance.visitor().get("/").await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", agent.last_lines()));
        if !leaves.contains(&answer.certificate) {
            leaves.push(answer.certificate);
        }
        assert!(std::time::Instant::now() < until, "{} certificates\n{}", leaves.len(), agent.last_lines());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_that_the_ca_refuses_is_something_for_a_person() {
    let (instance, _) = published(&Site::titled("blocked")).await;
    // Names that Pebble blocks are of no zone here, and would be told before it is asked.
    instance.acme.add(Rule::new(Fault::refuse(400, "rejectedIdentifier")).on("newOrder"));
    let mut agent = instance.start();
    agent.wait_for("what to do about it", SOON, async |agent| says(agent, "correct `domain` and `aliases`")).await;
    assert_eq!(instance.acme.accepted("newOrder"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ca_asks_for_is_kept_by_the_hosts_after_the_one_that_was_told() {
    let (first, _) = published(&Site::titled("told")).await;
    first.acme.add(Rule::new(Fault::refuse_for(429, "rateLimited", 12)).on("newOrder").times(1));
    let mut agent = first.start();
    agent.wait_for_phase("certificate", "failing", SOON).await;
    let told = std::time::Instant::now();
    agent.kill().await;
    let second = first.successor().await;
    let mut agent = second.start();
    agent.wait_until_serving(SOON).await;
    let calls = first.acme.calls();
    let orders: Vec<_> = calls.iter().filter(|call| call.operation == "newOrder").collect();
    let waited = orders[1].started.duration_since(orders[0].ended);
    assert!((12..=22).contains(&waited.as_secs()), "{waited:?}, {:?} after it was seen", told.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_without_a_hint_is_left_alone_for_an_hour_and_the_budget_says_so() {
    let (instance, _) = published(&Site::titled("limited")).await;
    instance.acme.add(Rule::new(Fault::refuse(429, "rateLimited")).on("newOrder"));
    let mut agent = instance.start();
    agent.wait_for("a pause", SOON, async |agent| says(agent, "not before")).await;
    let budget = instance.command(&["budget", "--json"]).await;
    assert_eq!(budget.code, Some(1), "{budget:?}");
    let said: serde_json::Value = serde_json::from_str(&budget.stdout).expect("JSON");
    let format = &time::format_description::well_known::Rfc3339;
    let when = OffsetDateTime::parse(said["when"].as_str().expect("a time"), format).expect("RFC 3339");
    let left = when - OffsetDateTime::now_utc();
    assert!((3_300..=3_600).contains(&left.whole_seconds()), "{left}");
    assert!(said["authorities"][0]["said"].as_str().is_some_and(|said| said.contains("rateLimited")), "{said:#}");
    // The keeper looks at the vault meanwhile, and not at the CA.
    let looks = instance.aws.count("GetSecretValue");
    eventually("more looks", 2 * SOON, async || instance.aws.count("GetSecretValue") > looks + 1).await;
    assert_eq!(instance.acme.calls().iter().filter(|call| call.operation == "newOrder").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_that_is_busy_is_asked_again_when_it_says() {
    let (instance, _) = published(&Site::titled("busy")).await;
    instance.acme.add(Rule::new(Fault::refuse_for(503, "serverInternal", 4)).on("newOrder").times(1));
    let mut agent = instance.start();
    agent.wait_until_serving(2 * SOON).await;
    let calls = instance.acme.calls();
    let orders: Vec<_> = calls.iter().filter(|call| call.operation == "newOrder").collect();
    assert!(orders[1].started.duration_since(orders[0].ended) >= Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_that_cannot_be_a_replacement_is_made_like_any_other() {
    if !World::shared().tells_renewal_windows().await {
        eprintln!("this release of Pebble does not let its renewal windows be set; nothing was tried");
        return;
    }
    let (instance, visitor, agent) = serving(&Site::titled("replaced")).await;
    let before = leaf(&visitor).await;
    agent.kill().await;
    instance.acme.add(Rule::new(Fault::refuse(409, "alreadyReplaced")).on("newOrder").times(1));
    let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}"#;
    World::shared().set_renewal_window(&before, window).await;
    let mut agent = instance.start();
    // A visitor of its own each time: a session that is resumed shows the certificate that it began with.
    let renewed = async |_: &Agent| ![before.clone(), Vec::new()].contains(&leaf(&instance.visitor()).await);
    agent.wait_for("another certificate", 2 * SOON, renewed).await;
    assert_eq!(instance.acme.accepted("newOrder"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_that_cannot_be_is_passed_over_and_one_ahead_is_waited_for() {
    if !World::shared().tells_renewal_windows().await {
        eprintln!("this release of Pebble does not let its renewal windows be set; nothing was tried");
        return;
    }
    let (instance, visitor, agent) = serving(&Site::titled("windows")).await;
    let before = leaf(&visitor).await;
    agent.kill().await;
    let windows = [
        "{\"suggestedWindow\":",
        r#"{"suggestedWindow":{"start":"2020-01-02T00:00:00Z","end":"2020-01-01T00:00:00Z"}}"#,
        r#"{"suggestedWindow":{"start":"2099-01-01T00:00:00Z","end":"2099-01-02T00:00:00Z"}}"#,
    ];
    for window in windows {
        World::shared().set_renewal_window(&before, window).await;
        let mut agent = instance.start();
        agent.wait_until_serving(SOON).await;
        let asked = instance.acme.accepted("renewalInfo");
        eventually("the CA is asked", SOON, async || instance.acme.accepted("renewalInfo") > asked).await;
        agent.wait_until_serving(SOON).await;
        assert!(leaf(&visitor).await == before, "{window}: it was replaced");
        agent.kill().await;
    }
    assert_eq!(instance.acme.accepted("newOrder"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_that_wants_to_be_asked_all_the_time_is_asked_once_a_minute() {
    let (instance, _) = published(&Site::titled("asked")).await;
    instance.acme.add(Rule::new(Fault::Tell("retry-after", "1".to_owned())).on("renewalInfo"));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    eventually("the CA is asked", SOON, async || instance.acme.accepted("renewalInfo") > 0).await;
    let looks = instance.aws.calls().iter().filter(|call| call.service == Service::Route53).count();
    eventually("some time", SOON, async || {
        instance.aws.calls().iter().filter(|call| call.service == Service::Route53).count() > looks + 8
    })
    .await;
    assert_eq!(instance.acme.accepted("renewalInfo"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wildcard_alias_is_certified_published_and_redirected() {
    let (mut instance, visitor) = published(&Site::titled("wild")).await;
    let apex = instance.account.apex.clone();
    instance.configuration.insert("aliases".to_owned(), Value::Array(vec![text(format!("*.{apex}"))]));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    let redirected = visitor.asking_for(&format!("anything.{apex}")).get("/style.css").await.expect("an answer");
    assert_eq!(redirected.status, 308);
    assert!(redirected.header("location").starts_with(&format!("https://{}", instance.account.domain())));
    let address = instance.address.to_string();
    let published = instance.account.records().await;
    let wild = published.iter().find(|record| record.kind == "A" && record.name != format!("www.{apex}."));
    assert_eq!(wild.map(|record| record.values.clone()), Some(vec![address]), "{published:?}");
    instance.wait_until_told(&mut agent, SOON).await;
    // Nothing is written again by the next looks.
    let writes = instance.aws.writes().len();
    let looks = instance.aws.count("ListResourceRecordSets");
    eventually("more looks", SOON, async || instance.aws.count("ListResourceRecordSets") > looks + 4).await;
    assert_eq!(instance.aws.writes().len(), writes);
    agent.wait_until_serving(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cname_where_a_proof_is_to_stand_is_for_a_person_before_the_ca_is_asked() {
    let (instance, _) = published(&Site::titled("delegated")).await;
    let name = format!("_acme-challenge.{}", instance.account.domain());
    instance.account.upsert(&name, "CNAME", 60, &["proofs.example.net."]).await;
    let mut agent = instance.start();
    agent.wait_for("the cure", SOON, async |agent| says(agent, &format!("remove the CNAME at {name}"))).await;
    assert_eq!(agent.part("certificate")["fault"]["cure"], "operator");
    assert_eq!(["newAccount", "newOrder"].map(|resource| instance.acme.accepted(resource)), [0, 0]);
    assert!(instance.account.secret().await.is_none(), "an attempt was counted");
    instance.account.delete_record(&name, "CNAME").await;
    agent.wait_until_serving(2 * SOON).await;
    assert_eq!(instance.acme.accepted("newOrder"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_of_another_zone_is_for_a_person_at_once() {
    let (instance, _visitor, agent) = serving(&Site::titled("elsewhere")).await;
    agent.kill().await;
    let mut second = instance.successor().await;
    second.configuration.insert("aliases".to_owned(), Value::Array(vec![text("www.elsewhere.example")]));
    let mut agent = second.start();
    agent.wait_for("the cure", SOON, async |agent| says(agent, "take www.elsewhere.example out of `aliases`")).await;
    let address = async |agent: &Agent| {
        let fault = agent.part("address")["fault"].to_string();
        fault.contains("is not permitted in zone") && fault.contains("`aliases`") && fault.contains("operator")
    };
    agent.wait_for("what Route 53 says", SOON, address).await;
    assert_eq!(instance.acme.accepted("newOrder"), 1, "an attempt was spent");
}
