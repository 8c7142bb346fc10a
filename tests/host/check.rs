//! `spothost check` and `spothost status` look and change nothing.

use world::{Agent, Fault, Rule, Service, Site};

use crate::{SOON, front, published, serving};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_of_a_bare_instance_finds_drift_and_changes_nothing() {
    let (instance, _) = published(&Site::titled("checked")).await;
    let ended = instance.command(&["check"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["host", "package", "certificate", "listener", "address"] {
        assert!(ended.stdout.contains(part), "nothing about {part}:\n{}", ended.stdout);
    }
    assert_eq!(instance.aws.writes().len(), 0, "{:?}", instance.aws.writes());
    assert!(!instance.aws.calls().is_empty(), "it looked at nothing");
    let orders = ["newOrder", "newAccount"].map(|resource| instance.acme.accepted(resource));
    assert_eq!(orders, [0, 0]);
    assert!(instance.account.secret().await.is_none() && instance.account.records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_beside_a_running_host_finds_all_as_it_should_be() {
    let (instance, _visitor, agent) = serving(&Site::titled("checked")).await;
    let writes = instance.aws.writes().len();
    let ended = instance.command(&["check"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(instance.aws.writes().len(), writes);
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_the_cure_of_what_is_refused() {
    let (instance, _) = published(&Site::titled("checked")).await;
    instance.aws.add(Rule::new(Fault::denied()).on("GetSecretValue"));
    let ended = instance.command(&["check"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("secretsmanager:GetSecretValue"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_how_the_host_is_and_how_it_booted() {
    let (instance, _visitor, agent) = serving(&Site::titled("told")).await;
    let ended = instance.command(&["status", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((told["pid"].as_i64(), told["phase"].as_str()), (Some(agent.pid().into()), Some("serving")), "{told}");
    let shown = instance.command(&["status"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for word in [&instance.account.domain(), "package", "certificate", "listener", "address", "departure"] {
        assert!(shown.stdout.contains(word), "nothing about {word}:\n{}", shown.stdout);
    }
    assert_eq!(agent.stop().await, Some(0));
    let after = instance.command(&["status"]).await;
    assert!(after.stdout.contains("gone"), "{}", after.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_at_rest_writes_nothing() {
    let (instance, _visitor, mut agent) = serving(&Site::titled("quiet")).await;
    let writes = instance.aws.writes().len();
    let looks = instance.aws.calls().len();
    agent.wait_for("many more looks", SOON, async |_| instance.aws.calls().len() > looks + 12).await;
    assert_eq!(instance.aws.writes().len(), writes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_whose_fleet_cannot_be_read_is_not_said_to_boot() {
    let (instance, visitor) = published(&Site::titled("fleetless")).await;
    instance.aws.add(Rule::new(Fault::refuse(403, "UnauthorizedOperation")).of(Service::Ec2));
    let mut agent = instance.start();
    let led = async |_: &Agent| instance.is_led_to().await;
    agent.wait_for("the names lead to it", SOON, led).await;
    agent.wait_for("it is degraded", SOON, async |agent| agent.status()["phase"] == "degraded").await;
    assert!(front(&visitor).await.is_some());
    let shown = instance.command(&["status"]).await;
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert!(shown.stdout.contains("is degraded") && shown.stdout.contains("succession"), "{}", shown.stdout);
}
