//! More than one host at a time: each holds a record of its own, with a health check on it.

use std::time::Duration;

use nix::sys::signal::Signal;
use world::{Account, Agent, Fault, Fleet, FleetKind, Instance, REGIONS, Record, Rule, Site, Visitor, eventually};

use crate::{SOON, front, hosts::hasty, published};

/// A host among others.
async fn first(site: &Site) -> (Instance, Visitor) {
    let (mut instance, visitor) = published(site).await;
    among(&mut instance);
    (instance, visitor)
}

async fn another(before: &Instance) -> Instance {
    let mut instance = before.successor().await;
    among(&mut instance);
    instance
}

fn among(instance: &mut Instance) {
    let dns: toml::Table = toml::from_str("mode = \"multivalue\"\nttl = 1\n").expect("TOML");
    instance.configuration.insert("dns".into(), dns.into());
}

/// The records of addresses: who has which, with which check.
async fn records(account: &Account) -> Vec<Record> {
    let name = format!("{}.", account.domain());
    account.records().await.into_iter().filter(|record| record.name == name && record.kind == "A").collect()
}

async fn is_led_to(instance: &Instance) -> bool {
    let records = records(&instance.account).await;
    records.iter().any(|record| {
        record.identifier.as_deref() == Some(instance.imds.instance_id())
            && record.values == [instance.address.to_string()]
    })
}

async fn holds(agent: &mut Agent) {
    agent.wait_for_phase("address", "kept", SOON).await;
}

/// Both hosts lead the names, each with a health check of its own.
async fn two(site: &Site) -> (Instance, Agent, Instance, Agent) {
    let (one, _) = first(site).await;
    let mut first_agent = one.start();
    holds(&mut first_agent).await;
    let other = another(&one).await;
    let mut second_agent = other.start();
    holds(&mut second_agent).await;
    assert!(is_led_to(&one).await && is_led_to(&other).await);
    (one, first_agent, other, second_agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_host_that_is_ready_has_a_record_and_a_health_check_of_its_own() {
    let (one, mut first_agent, other, mut second_agent) = two(&Site::titled("both")).await;
    let records = records(&one.account).await;
    let checks = one.account.health_checks().await;
    assert_eq!((records.len(), checks.len()), (2, 2), "{records:?} {checks:?}");
    for instance in [&one, &other] {
        let id = instance.imds.instance_id();
        let record = records.iter().find(|record| record.identifier.as_deref() == Some(id)).expect("its record");
        let check = checks.iter().find(|check| check["id"].as_str() == record.check.as_deref()).expect("its check");
        assert_eq!(check["IPAddress"], instance.address.to_string());
        let domain = instance.account.domain();
        let port = instance.https().port();
        assert_eq!((&check["Type"], &check["EnableSNI"]), (&"HTTPS".into(), &true.into()), "{check}");
        assert_eq!((&check["FullyQualifiedDomainName"], &check["Port"]), (&domain.into(), &port.into()), "{check}");
        assert!(front(&instance.visitor()).await.is_some());
    }
    // One certificate, and no host leaves.
    assert_eq!(one.acme.accepted("newOrder"), 1);
    for agent in [&mut first_agent, &mut second_agent] {
        agent.wait_for("owner", SOON, async |agent| agent.status()["role"] == "owner").await;
    }
    // A package goes live on both.
    one.account.put("site-latest.zip", Site::titled("newer").zip()).await;
    for instance in [&one, &other] {
        eventually("the new one", SOON, async || {
            front(&instance.visitor()).await.is_some_and(|page| page.contains("newer"))
        })
        .await;
    }
    let changes = one.account.changes().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(one.account.changes().await.len(), changes, "something is written at rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_killed_host_are_swept_once_ec2_says_that_it_is_gone() {
    let (one, _first_agent, other, second_agent) = two(&Site::titled("swept")).await;
    second_agent.kill().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_led_to(&other).await, "it may come back: its health check leaves it out meanwhile");
    one.account.end(other.imds.instance_id()).await;
    eventually("swept", SOON, async || {
        records(&one.account).await.len() == 1 && one.account.health_checks().await.len() == 1
    })
    .await;
    assert!(is_led_to(&one).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_in_two_regions_leave_each_other_their_records_and_sweep_what_is_long_forgotten() {
    let patience: toml::Table = toml::from_str("silence = \"3s\"").expect("TOML");
    let (mut one, _) = first(&Site::titled("regions")).await;
    one.configuration.insert("succession".into(), patience.clone().into());
    // As of an instance that ended hours ago: nothing answers there, and EC2 knows nothing of it.
    let dead = world::own_address().to_string();
    let set = serde_json::json!({
        "Name": format!("{}.", one.account.domain()), "Type": "A", "TTL": 1, "SetIdentifier": "i-0123456789abcdef0",
        "MultiValueAnswer": true, "ResourceRecords": [{ "Value": dead }],
    });
    one.account.change(&serde_json::json!([{ "Action": "CREATE", "ResourceRecordSet": set }])).await;
    let mut first_agent = one.start();
    holds(&mut first_agent).await;
    let mut other = one.successor_in(REGIONS[1]).await;
    among(&mut other);
    other.configuration.insert("succession".into(), patience.into());
    let mut second_agent = other.start();
    holds(&mut second_agent).await;
    eventually("what is forgotten is swept", SOON, async || records(&one.account).await.len() == 2).await;
    assert!(is_led_to(&one).await && is_led_to(&other).await);

    let changes = one.account.changes().await.len();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(one.account.changes().await.len(), changes, "{}", first_agent.last_lines());
    // One that was heard may be kept from this host alone: its health check leaves it out meanwhile.
    second_agent.kill().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(is_led_to(&other).await);
    assert_eq!(one.account.health_checks().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn departing_host_takes_its_record_away_and_then_serves_to_the_end() {
    let (one, first_agent, other, mut second_agent) = two(&Site::titled("departs")).await;
    other.imds.announce("terminate", Duration::from_secs(60));
    second_agent.wait_for("its record is away", SOON, async |_| !is_led_to(&other).await).await;
    assert!(front(&other.visitor()).await.is_some(), "it serves those who still come");
    eventually("its check too", SOON, async || one.account.health_checks().await.len() == 1).await;

    // A notice that is withdrawn: it is among the others again, with another check.
    other.imds.clear_notice();
    second_agent.wait_for("its record is back", SOON, async |_| is_led_to(&other).await).await;
    assert_eq!(one.account.health_checks().await.len(), 2);

    // A signal.
    assert_eq!(first_agent.stop().await, Some(0));
    assert!(!is_led_to(&one).await && is_led_to(&other).await);
    assert_eq!(one.account.health_checks().await.len(), 1);
    let mut first_agent = one.start();
    first_agent.wait_for("it is back", SOON, async |_| is_led_to(&one).await).await;
    drop(first_agent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_departing_host_from_taking_its_record_away_is_in_its_status() {
    let (_one, _first_agent, other, mut second_agent) = two(&Site::titled("kept")).await;
    other.aws.add(Rule::new(Fault::denied()).on("ChangeResourceRecordSets"));
    other.imds.announce("terminate", Duration::from_secs(100));
    let says = async |agent: &Agent| {
        let remedy = &agent.part("address")["fault"]["remedy"];
        remedy.as_str().is_some_and(|text| text.contains("route53:ChangeResourceRecordSets"))
    };
    second_agent.wait_for("the fault", SOON, says).await;
    assert!(is_led_to(&other).await);
    other.aws.lift();
    second_agent.wait_for("its record is away", SOON, async |_| !is_led_to(&other).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_may_have_no_health_check_is_led_to_without_one_and_says_so() {
    let (one, _) = first(&Site::titled("unchecked")).await;
    one.aws.add(Rule::new(Fault::denied()).on("CreateHealthCheck"));
    let mut agent = one.start();
    let says = async |agent: &Agent| {
        agent.part("address")["fault"]["remedy"].as_str().is_some_and(|text| text.contains("route53:CreateHealthCheck"))
    };
    agent.wait_for("the fault", SOON, says).await;
    let records = records(&one.account).await;
    assert!(is_led_to(&one).await && records[0].check.is_none(), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_records_of_a_host_are_followed_by_records_of_every_host() {
    let (old, _) = published(&Site::titled("simple")).await;
    let mut agent = old.start();
    agent.wait_until_serving(SOON).await;
    let new = another(&old).await;
    let mut among = new.start();
    holds(&mut among).await;
    let records = records(&old.account).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(is_led_to(&new).await);
    agent.wait_for("it stands aside", SOON, async |agent| agent.part("address")["phase"] == "standing-aside").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_people_are_replaced_only_where_that_is_allowed() {
    let (mut one, _) = first(&Site::titled("people")).await;
    let domain = one.account.domain();
    one.account.upsert(&domain, "A", 300, &["198.51.100.7"]).await;
    let mut agent = one.start();
    let said = async |agent: &Agent| {
        agent.part("address")["fault"]["said"].as_str().is_some_and(|said| said.contains("leads to 198.51.100.7"))
    };
    agent.wait_for("a fault for a person", SOON, said).await;
    assert_eq!(agent.stop().await, Some(0));
    one.configuration["dns"].as_table_mut().expect("a table").insert("adopt".into(), true.into());
    let mut agent = one.start();
    holds(&mut agent).await;
    assert!(is_led_to(&one).await);
    // The last host's records stay when it goes: resolvers would remember that there are none.
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended(SOON).await, Some(0));
    assert!(is_led_to(&one).await);
    // The next host sweeps them, with their health check.
    one.account.end(one.imds.instance_id()).await;
    let next = another(&one).await;
    let mut agent = next.start();
    holds(&mut agent).await;
    eventually("swept", SOON, async || {
        records(&one.account).await.len() == 1 && one.account.health_checks().await.len() == 1
    })
    .await;
    assert!(is_led_to(&next).await);
}

/// Two hosts at rest, both of which people are led to.
async fn pair(kind: FleetKind, site: &Site) -> Fleet {
    let account = Account::new().await;
    account.put("site-latest.zip", site.zip()).await;
    let mut settings = hasty("[fleet]\ntarget = 2\n");
    settings["dns"].as_table_mut().expect("a table").insert("mode".into(), "multivalue".into());
    let fleet = Fleet::start(&account, kind, settings).await;
    fleet.set_target(2).await;
    eventually("two hosts", SOON, async || records(&account).await.len() == 2).await;
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollout_among_many_replaces_each_host_in_its_turn() {
    tokio::join!(rolled(FleetKind::Spot), rolled(FleetKind::Group));
}

async fn rolled(kind: FleetKind) {
    let fleet = pair(kind, &Site::titled("many")).await;
    let ids = async || -> Vec<String> {
        records(&fleet.account).await.into_iter().filter_map(|record| record.identifier).collect()
    };
    let old = ids().await;
    // As an operator, with the configuration of a host.
    let member = fleet.members().remove(0);
    let operator = &member.instance;
    let config = operator.config_path().display().to_string();

    let ended = operator.command(&["rollout", "--config", &config, "--timeout", "3m"]).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("all 2 hosts are new ones, and answer"), "{}", ended.stdout);
    assert_eq!((fleet.target().await, fleet.size().await, fleet.started()), (2, 2, 4));
    eventually("only the new ones", SOON, async || {
        let now = ids().await;
        now.len() == 2 && !now.iter().any(|id| old.contains(id))
    })
    .await;

    let ended = operator.command(&["hosts", "--config", &config, "--json"]).await;
    let hosts: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let hosts = hosts.as_array().expect("a list");
    assert_eq!((ended.code, hosts.len()), (Some(0), 2), "{}", ended.stderr);
    for host in hosts {
        assert_eq!((&host["owner"], &host["answers"]), (&true.into(), &true.into()), "{host}");
        assert_eq!(host["program"], env!("CARGO_PKG_VERSION"), "{host}");
    }

    // What every host runs already is no reason to replace any.
    let again = ["rollout", "--config", &config, "--program", env!("CARGO_PKG_VERSION")];
    let ended = operator.command(&again).await;
    assert_eq!((ended.code, fleet.started()), (Some(0), 4), "{}{}", ended.stdout, ended.stderr);
}
