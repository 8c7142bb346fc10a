//! Any number of hosts shares one certificate, and the CA sees an order only when one is due.

use std::time::Duration;

use time::OffsetDateTime;
use world::{Account, Agent, Fault, Instance, Rule, Service, Site};

use crate::{SOON, serving};

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
async fn hosts_that_boot_together_order_once_and_share_the_certificate() {
    let first = Instance::new().await;
    first.account.put("site-latest.zip", Site::titled("shared").zip()).await;
    let mut instances = Vec::new();
    for number in 1..8 {
        instances.push(beside(&first, &first.account, number).await);
    }
    instances.push(first);
    let mut agents: Vec<(usize, Agent)> = instances.iter().map(Instance::start).enumerate().collect();
    for (_, agent) in &mut agents {
        agent.wait_for_phase("certificate", "kept", 3 * SOON).await;
        agent.wait_for_phase("listener", "kept", SOON).await;
    }
    let first = instances.last().expect("eight instances");
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
    first.acme.add(Rule::new(Fault::Hang).on("cert"));
    let agent = first.start();
    world::eventually("the order is finalized", SOON, async || first.acme.accepted("finalize") == 1).await;
    agent.kill().await;
    first.acme.lift();

    let second = beside(&first, &first.account, 60).await;
    let mut agent = second.start();
    // The lease of the one that was killed runs out within a minute.
    agent.wait_for_phase("certificate", "kept", 4 * SOON).await;
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
