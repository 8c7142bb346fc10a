//! A host that has to go says so, changes nothing more, and loses no request.

use std::time::Duration;

use nix::sys::signal::Signal;
use world::{Load, Site, eventually};

use crate::{SOON, serving};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_no_request() {
    let site = Site::of_files("drained", 60).with("large.bin", vec![7; 300_000]);
    let (_instance, visitor, agent) = serving(&site).await;
    let load = Load::start(&visitor, 8, site.pages());
    eventually("the load runs", SOON, async || load.answered() > 200).await;
    let before = load.answered();
    assert_eq!(agent.stop().await, Some(0));
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
    assert!(tally.answered > before, "nothing was answered during the drain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn departing_host_changes_nothing_outside() {
    let (instance, _visitor, agent) = serving(&Site::titled("gone")).await;
    let writes = instance.aws.writes().len();
    agent.signal(Signal::SIGINT);
    instance.account.upsert(&instance.account.domain(), "A", 60, &["192.0.2.9"]).await;
    assert_eq!(agent.ended(SOON).await, Some(0));
    assert_eq!(instance.aws.writes().len(), writes);
    assert_eq!(instance.account.answers(&instance.account.domain(), "A").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spot_notice_is_acted_on() {
    let site = Site::of_files("noticed", 20);
    let (instance, visitor, mut agent) = serving(&site).await;
    let load = Load::start(&visitor, 4, site.pages());
    eventually("the load runs", SOON, async || load.answered() > 50).await;
    let writes = instance.aws.writes().len();
    instance.imds.announce("terminate", Duration::from_secs(24));
    agent.wait_for("it departs", Duration::from_secs(8), async |agent| agent.status()["phase"] == "departing").await;
    let going = agent.status()["going"].clone();
    assert!(going["why"].as_str().is_some_and(|why| why.contains("terminate")), "{going}");
    assert!(going["until"].is_string(), "{going}");

    // Before the instance is taken it has ended by itself, with the code that keeps systemd from starting it again.
    assert_eq!(agent.ended(Duration::from_secs(24)).await, Some(3));
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
    // The one thing that it changed outside is what its departure is for: its claim says that it goes.
    assert_eq!(instance.aws.writes().len(), writes + 1);
    let claim = format!("_spothost.{}", instance.account.domain());
    assert!(instance.account.answers(&claim, "TXT").await.join("").contains("departing"));
}
