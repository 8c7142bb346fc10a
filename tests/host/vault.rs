//! Any number of hosts shares one certificate, and the CA sees an order only when one is due.

use std::time::Duration;

use time::OffsetDateTime;
use world::{Account, Agent, Fault, Instance, Rule, Service, Site, eventually};

use crate::{SOON, front, serving};

/// Launches an instance in `account` that goes to the CA by the way of `first`.
async fn beside(first: &Instance, account: &Account, later: u64) -> Instance {
    let mut instance = Instance::launch(account).await;
    instance.configuration.insert("acme".to_owned(), first.configuration["acme"].clone());
    instance.imds.set_launched(OffsetDateTime::now_utc() + Duration::from_secs(later));
    instance
}

async fn leaf(instance: &Instance) -> Vec<u8> {
    instance.visitor().get("/").await.expect("an answer").certificate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_boot_together_order_once_and_share_the_certificate() {
    boot_together(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_hosts_that_boot_together_order_once_and_share_the_certificate() {
    boot_together(8).await;
}

/// Drawn joint boots where Secrets Manager shows a write seconds later: a secret that is there or not, hosts that come at
/// once or some seconds apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_boot_together_order_once_where_reads_of_the_secret_lag() {
    let seed = fastrand::u64(..);
    let mut dice = fastrand::Rng::with_seed(seed);
    let drawn: Vec<_> = [2, 3].map(|hosts| (hosts, 1.0 + 4.0 * dice.f64(), dice.bool())).to_vec();
    println!("seed {seed}, hosts, lag in seconds, secret that is there: {drawn:?}");
    let boots = drawn.into_iter().map(|(hosts, lag, made)| async move {
        let first = Instance::new().await;
        if made {
            first.account.put_secret("").await;
        }
        first.account.lag_secrets(lag).await;
        boot_from(first, hosts).await;
    });
    futures_util::future::join_all(boots).await;
}

async fn boot_together(hosts: u64) {
    boot_from(Instance::new().await, hosts).await;
}

async fn boot_from(first: Instance, hosts: u64) {
    first.account.put("site-latest.zip", Site::titled("shared").zip()).await;
    let mut instances = Vec::new();
    for number in 1..hosts {
        instances.push(beside(&first, &first.account, number).await);
    }
    instances.push(first);
    let mut agents: Vec<(usize, Agent)> = instances.iter().map(Instance::start).enumerate().collect();
    for (_, agent) in &mut agents {
        agent.wait_for_phase("certificate", "kept", 3 * SOON).await;
        agent.wait_for_phase("listener", "kept", SOON).await;
    }
    let first = instances.last().expect("instances");
    assert_eq!(first.acme.accepted("newOrder"), 1);
    assert_eq!(first.acme.accepted("finalize"), 1);
    let certificate = leaf(first).await;
    for instance in &instances {
        assert!(leaf(instance).await == certificate, "{} has another certificate", instance.address);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_of_a_host_that_was_killed_is_gone_on_with() {
    let first = Instance::new().await;
    first.account.put("site-latest.zip", Site::titled("resumed").zip()).await;
    // The CA has issued, but the host never hears of it, and is killed.
    first.acme.add(Rule::new(Fault::Hang).on("certificate"));
    let agent = first.start();
    world::eventually("the order is finalized", SOON, async || first.acme.accepted("finalize") == 1).await;
    agent.kill().await;
    let killed = std::time::Instant::now();
    first.acme.lift();

    let second = beside(&first, &first.account, 60).await;
    let mut agent = second.start();
    agent.wait_for_phase("certificate", "kept", 2 * SOON).await;
    // The lease of the one that was killed runs out by itself.
    let calls = first.acme.calls();
    let after = calls.iter().map(|call| call.started).filter(|started| *started > killed);
    let held_up = after.min().expect("the CA was asked again").duration_since(killed);
    println!("held up for {:.1} s", held_up.as_secs_f64());
    assert!(held_up <= Duration::from_secs(20), "{held_up:?}");
    assert_eq!(first.acme.accepted("newOrder"), 1);
    assert_eq!(first.acme.accepted("finalize"), 1);
    agent.wait_until_serving(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_without_leave_for_the_lease_orders_all_the_same() {
    let instance = Instance::new().await;
    instance.account.put("site-latest.zip", Site::titled("unleased").zip()).await;
    instance.aws.add(Rule::new(Fault::denied()).of(Service::S3).on("PutObject"));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    agent.wait_for_line("ordering without a lease", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_is_hidden_for_a_moment_is_asked_for_again_and_nobody_orders_without_it() {
    let first = Instance::new().await;
    first.account.put("site-latest.zip", Site::titled("hidden").zip()).await;
    let second = beside(&first, &first.account, 1).await;
    first.acme.add(Rule::new(Fault::Hold).on("newOrder"));
    let mut ordering = first.start();
    let leased = async || !first.account.names(".spothost-lease").await.is_empty();
    eventually("the first host holds the lease", SOON, leased).await;
    // What S3 says of an object that was there for the write and is gone for the read, to a role that may not list it.
    let lease = ".spothost-lease.json";
    second.aws.add(Rule::new(Fault::denied()).of(Service::S3).on("GetObject").about(lease).times(4));
    let mut waiting = second.start();
    let asked = async || second.aws.calls().iter().filter(|call| call.target.contains(lease)).count() > 8;
    eventually("the second host has asked for it", SOON, asked).await;
    assert!(!waiting.log().contains("without a lease"), "{}", waiting.last_lines());
    first.acme.lift();
    for agent in [&mut ordering, &mut waiting] {
        agent.wait_for_phase("certificate", "kept", 2 * SOON).await;
    }
    assert!(!waiting.log().contains("without a lease"), "{}", waiting.last_lines());
    assert_eq!(first.acme.accepted("newOrder"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_is_scheduled_for_deletion_is_for_a_person_at_once() {
    let (first, _visitor, agent) = serving(&Site::titled("deleted")).await;
    agent.kill().await;
    first.account.schedule_deletion().await;
    let second = first.successor().await;
    let mut agent = second.start();
    let cure = format!("aws secretsmanager restore-secret --secret-id {}", first.account.vault());
    let told = async |agent: &Agent| {
        let fault = agent.part("certificate")["fault"].clone();
        fault["cure"] == "operator" && fault["remedy"].to_string().contains(&cure)
    };
    agent.wait_for("the cure", SOON, told).await;
    let shown = second.command(&["vault", "show"]).await;
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert!(shown.stderr.contains(&cure), "{shown:?}");
    first.account.restore_secret().await;
    agent.wait_until_serving(SOON).await;
    assert_eq!(first.acme.accepted("newOrder"), 1, "another was ordered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_may_be_named_by_their_arns() {
    let (first, _visitor, agent) = serving(&Site::titled("named")).await;
    agent.kill().await;
    let arn = first.account.secret_arn(&first.account.vault()).await;
    let mut second = first.successor().await;
    second.configuration.insert("vault".to_owned(), arn.clone().into());
    // The accounts of this world are not the one that its IAM is asked for.
    second.aws.allow_everything();
    let mut agent = second.start();
    agent.wait_until_serving(SOON).await;
    assert_eq!(first.acme.accepted("newOrder"), 1);
    let shown = second.command(&["vault", "show"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    agent.kill().await;
    // One that is not there cannot be made under an ARN.
    let mut third = first.successor().await;
    let other = format!("{}X", &arn[..arn.len() - 7]).replace("/identity", "/other-Ab1Cd2");
    third.configuration.insert("vault".to_owned(), other.clone().into());
    third.aws.allow_everything();
    let mut agent = third.start();
    let told = async |agent: &Agent| {
        let fault = agent.part("certificate")["fault"].clone();
        fault["cure"] == "operator" && fault["remedy"].to_string().contains(&other)
    };
    agent.wait_for("a word about the ARN", SOON, told).await;
    assert_eq!(first.acme.accepted("newOrder"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_order_is_not_repeated_before_the_ca_says_so() {
    let instance = Instance::new().await;
    instance.account.put("site-latest.zip", Site::titled("limited").zip()).await;
    instance.acme.add(Rule::new(Fault::refuse_for(429, "rateLimited", 6)).on("newOrder").times(1));
    let mut agent = instance.start();
    agent.wait_for_phase("certificate", "failing", SOON).await;
    let refused = std::time::Instant::now();
    agent.wait_for_phase("certificate", "kept", SOON).await;
    assert!(refused.elapsed() >= Duration::from_secs(5), "{:?}", refused.elapsed());
    let calls = instance.acme.calls();
    let refused = calls.iter().filter(|call| call.operation == "newOrder" && call.status == Some(429)).count();
    assert_eq!((refused, instance.acme.accepted("newOrder")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_that_the_ca_wants_now_is_made_without_a_failed_request() {
    if !world::World::shared().tells_renewal_windows().await {
        eprintln!("this release of Pebble does not let its renewal windows be set; nothing was tried");
        return;
    }
    let site = Site::of_files("renewed", 20);
    let (instance, visitor, mut agent) = serving(&site).await;
    let before = leaf(&instance).await;
    let load = world::Load::start(&visitor, 2, site.pages());
    let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"},"explanationURL":"https://ca.example/why"}"#;
    world::World::shared().set_renewal_window(&before, window).await;
    agent.wait_for("renewed", 2 * SOON, async |_| leaf(&instance).await != before).await;
    assert_eq!(instance.acme.accepted("newOrder"), 2, "one order for the first certificate, one that replaces it");
    assert!(agent.log().contains("https://ca.example/why"), "the explanation is logged");
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_holds_something_else_is_not_overwritten_and_the_version_before_it_serves() {
    let (first, _visitor, agent) = serving(&Site::titled("restored")).await;
    agent.kill().await;
    let good = first.account.secret().await.and_then(|secret| secret.current).expect("a secret");
    for foreign in ["not JSON", "{}", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        first.account.put_secret(foreign).await;
        let instance = first.successor().await;
        let mut agent = instance.start();
        agent.wait_for_phase("certificate", "kept", SOON).await;
        let asked = instance.acme.accepted("renewalInfo");
        agent.wait_for("the CA is asked", SOON, async |_| instance.acme.accepted("renewalInfo") > asked).await;
        agent.wait_for_phase("certificate", "kept", SOON).await;
        let notes = agent.part("certificate")["notes"].to_string();
        assert!(notes.contains("not a document of spothost") && notes.contains("previous version"), "{notes}");
        let warned = agent.log().lines().filter(|line| line.contains("WARN") && line.contains("the vault:")).count();
        assert_eq!(warned, 1, "once in the log, as it does not change: {}", agent.last_lines());
        assert_eq!(first.account.secret().await.and_then(|secret| secret.current).as_deref(), Some(foreign));
        assert!(!agent.log().contains("AAAA") && !notes.contains("AAAA"), "the secret is repeated");
        first.account.put_secret(good.clone()).await;
    }
    // With another such version before it there is nothing to go back to: that is for a person.
    first.account.put_secret("not JSON").await;
    first.account.put_secret("{}").await;
    let instance = first.successor().await;
    let mut agent = instance.start();
    let refused = async |agent: &Agent| agent.part("certificate")["fault"]["cure"] == "operator";
    agent.wait_for("a fault for a person", SOON, refused).await;
    first.account.put_secret(good).await;
    let visitor = instance.visitor();
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
    assert_eq!(first.acme.accepted("newOrder"), 1, "another order was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_document_costs_one_order_at_the_most_and_stays_until_the_new_one_is_there() {
    let (first, _visitor, agent) = serving(&Site::titled("damaged")).await;
    agent.kill().await;
    let good = first.account.secret().await.and_then(|secret| secret.current).expect("a secret");
    // Cut off twice, so that there is no good version to go back to.
    let cut = &good[..good.find("BEGIN CERTIFICATE").expect("a chain")];
    first.account.put_secret(cut[..cut.len() - 1].to_owned()).await;
    first.account.put_secret(cut.to_owned()).await;
    let instance = first.successor().await;
    let mut agent = instance.start();
    agent.wait_until_serving(2 * SOON).await;
    agent.wait_for_line("the vault: the vault document is damaged", SOON).await;
    assert_eq!((first.acme.accepted("newOrder"), first.acme.accepted("newAccount")), (2, 1), "the account was whole");
    let versions = first.account.secret().await.expect("a secret").versions;
    assert!(versions.iter().any(|version| version.value.as_deref() == Some(cut)), "what was damaged is kept");
}

/// The document in the secret.
pub(crate) async fn document(instance: &Instance) -> serde_json::Value {
    let secret = instance.account.secret().await.and_then(|secret| secret.current).unwrap_or_default();
    serde_json::from_str(&secret).unwrap_or_default()
}

/// A certificate for the domain from a CA of the test's own, valid between these hours from now, in the vault's document.
pub(crate) async fn holding(instance: &Instance, from: i64, until: i64) {
    let hours = |hours: i64| OffsetDateTime::now_utc() + time::Duration::hours(hours);
    let mut params = rcgen::CertificateParams::new(vec![instance.account.domain()]).expect("a valid name");
    (params.not_before, params.not_after) = (hours(from), hours(until));
    let key = rcgen::KeyPair::generate().expect("a key");
    let chain = params.self_signed(&key).expect("a certificate").pem();
    let directory = &instance.configuration["acme"]["directory"];
    let certificate =
        serde_json::json!({ "directory": directory.as_str(), "chain": chain, "key": key.serialize_pem() });
    let document = serde_json::json!({ "format": 2, "certificate": certificate, "ledger": {} });
    instance.account.put_secret(document.to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_that_is_off_neither_drops_a_good_certificate_nor_orders_another() {
    // By the clock of the host the first expired two days ago and the second is valid in two hours; by that of AWS both are
    // in the first part of their life.
    let day = 24;
    let table = [(-10 * day, 18 * day, 20 * day, "would have expired"), (-18, 60 * day, -20, "would not be valid yet")];
    for (from, until, ahead, looks) in table {
        let mut instance = Instance::new().await;
        instance.account.put("site-latest.zip", Site::titled("off").zip()).await;
        holding(&instance, from, until).await;
        instance.skew_clock(ahead * 3_600);
        let mut agent = instance.start();
        agent.wait_for_phase("certificate", "kept", SOON).await;
        let notes = agent.part("certificate")["notes"].to_string();
        assert!(notes.contains("clock of this host") && notes.contains(looks), "{notes}");
        let orders = instance.acme.calls().iter().filter(|call| call.operation == "newOrder").count();
        assert_eq!(orders, 0, "{}", agent.last_lines());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn person_looks_into_the_vault_and_mends_it() {
    let (instance, _visitor, agent) = serving(&Site::titled("mended")).await;
    agent.kill().await;
    let run = async |arguments: &[&str]| instance.command(arguments).await;
    let shown = run(&["vault", "show"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains(&instance.account.domain()) && !shown.stdout.contains("PRIVATE KEY"), "{shown:?}");
    // The version before the certificate was stored has the order, and no certificate.
    assert_eq!(run(&["vault", "verify"]).await.code, Some(1));
    assert_eq!(run(&["vault", "rollback"]).await.code, Some(1), "there is no certificate to go back to");

    let chain = instance.disk().join("chain.pem");
    let key = instance.disk().join("key.pem");
    let chain = chain.to_str().expect("UTF-8");
    let key = key.to_str().expect("UTF-8");
    let exported = run(&["vault", "export", chain, key]).await;
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    instance.account.put_secret("something else").await;
    let imported = run(&["vault", "import", chain, key]).await;
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert_eq!(document(&instance).await["certificate"]["chain"], std::fs::read_to_string(chain).expect("there"));
    let again = run(&["vault", "import", chain, key]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let verified = run(&["vault", "verify"]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    assert_eq!(run(&["vault", "rollback"]).await.code, Some(0));
    assert_eq!(run(&["vault", "forget-order"]).await.code, Some(0));
    let budget = run(&["budget"]).await;
    assert_eq!(budget.code, Some(0), "{budget:?}");
    assert!(budget.stdout.contains("certificates for these names") && budget.stdout.contains("keep the certificate"));
    assert_eq!(instance.acme.accepted("newOrder"), 1);

    // A vault that is not there yet is made.
    let mut instance = instance;
    let second = format!("{}/second", instance.account.domain());
    instance.configuration.insert("vault".to_owned(), second.into());
    let made = instance.aws.count("CreateSecret");
    let imported = instance.command(&["vault", "import", chain, key]).await;
    assert_eq!((imported.code, instance.aws.count("CreateSecret")), (Some(0), made + 1), "{imported:?}");
}
