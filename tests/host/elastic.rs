//! An Elastic IP leads people to the hosts, and moves from one to the next without Route 53.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use world::{Account, Agent, ElasticIp, Fault, Instance, Rule, Service, Site, Visitor, eventually};

use crate::{SOON, front, published};

/// A host that looks often, of a site that an Elastic IP leads to.
async fn first(site: &Site, has_its_own: bool) -> (ElasticIp, Instance, Visitor) {
    let (mut instance, visitor) = published(site).await;
    let ip = ElasticIp::allocate(&instance).await;
    let at = (ip.address, instance.https().port()).into();
    ready(&ip, &mut instance, has_its_own);
    (ip, instance, visitor.going_to(at))
}

fn ready(ip: &ElasticIp, instance: &mut Instance, has_its_own: bool) {
    ip.knows(instance, has_its_own);
    let hasty: toml::Table = toml::from_str("silence = \"3s\"\n").expect("TOML");
    instance.configuration.insert("succession".into(), hasty.into());
    let table = |instance: &mut Instance, key: &str, value: toml::Table| {
        instance.configuration.entry(key).or_insert_with(|| toml::Table::new().into());
        instance.configuration[key].as_table_mut().expect("a table").extend(value);
    };
    table(instance, "look", toml::from_str("address = \"300ms\"").expect("TOML"));
}

async fn next(ip: &ElasticIp, before: &Instance) -> Instance {
    let mut instance = before.successor().await;
    ready(ip, &mut instance, true);
    instance
}

async fn claim(account: &Account) -> String {
    let paper = account.paper(".spothost-claim.json").await.unwrap_or(Value::Null);
    paper["claim"].as_str().unwrap_or_default().to_owned()
}

async fn leads_to(ip: &ElasticIp, instance: &Instance) -> bool {
    ip.leads_to().await.as_deref() == Some(instance.imds.instance_id())
}

async fn has_role(agent: &mut Agent, role: &str) {
    agent.wait_for(role, SOON, async |agent| agent.status()["role"] == role).await;
}

/// Calls by which the address was moved; to ask whether one may is none, nor is what never arrived.
fn moves(instance: &Instance) -> usize {
    let calls = instance.aws.calls();
    let moves = |call: &&world::Call| {
        call.operation == "AssociateAddress" && !call.target.contains("DryRun=true") && call.status.is_some()
    };
    calls.iter().filter(moves).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_moves_to_the_next_host_and_the_records_stay() {
    // It has no address of its own: before, it can only be asked at its private one.
    let (ip, mut old, visitor) = first(&Site::titled("led"), false).await;
    // What is led elsewhere by hand does not look like an owner that is gone.
    let patient = toml::from_str::<toml::Table>("silence = \"1m\"").expect("TOML");
    old.configuration.insert("succession".into(), patient.into());
    let mut superseded = old.start();
    superseded.wait_until_serving(SOON).await;
    assert!(leads_to(&ip, &old).await && front(&visitor).await.is_some_and(|page| page.contains("led")));
    let domain = old.account.domain();
    eventually("the name leads to it", SOON, async || {
        old.account.answers(&domain, "A").await == [ip.address.to_string()]
    })
    .await;
    let batches = old.account.changes().await.len();

    // Route 53 is not needed any more.
    let new = next(&ip, &old).await;
    new.aws.add(Rule::new(Fault::refuse(503, "ServiceUnavailable")).of(Service::Route53));
    let mut owner = new.start();
    has_role(&mut owner, "owner").await;
    has_role(&mut superseded, "superseded").await;
    assert!(leads_to(&ip, &new).await && front(&visitor).await.is_some());
    assert!(claim(&old.account).await.contains(new.imds.instance_id()));
    assert_eq!(old.account.changes().await.len(), batches, "the records stay");
    let said = owner.part("address")["holds"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains(&ip.address.to_string()), "{said}");

    // By hand it is led elsewhere, as by a host that was late; the owner leads it back.
    ip.associate(Some(old.imds.instance_id())).await;
    owner.wait_for("it leads back", SOON, async |_| leads_to(&ip, &new).await).await;
    ip.associate(None).await;
    owner.wait_for("it leads back", SOON, async |_| leads_to(&ip, &new).await).await;
    assert_eq!(moves(&old), 1, "the old one moved it again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_is_led_to_without_any_zone() {
    let (ip, mut instance, _) = first(&Site::titled("zoneless"), true).await;
    instance.configuration.remove("zone");
    let ended = instance.command(&["check"]).await;
    assert!(ended.stderr.contains("without `zone` no certificate can be ordered"), "{}", ended.stderr);
    instance
        .configuration
        .insert("acme".into(), toml::from_str::<toml::Table>("directory = \"internal\"").expect("TOML").into());
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert!(leads_to(&ip, &instance).await);
    assert!(!instance.aws.calls().iter().any(|call| call.service == Service::Route53));
    assert!(claim(&instance.account).await.contains("epoch=1"));
    instance.wait_until_told(&mut agent, SOON).await;
    // It says that it goes, for the next to follow at once.
    instance.imds.announce("terminate", Duration::from_secs(60));
    eventually("the claim says so", SOON, async || claim(&instance.account).await.contains("departing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_that_may_not_be_moved_is_not_claimed_and_the_fault_says_what_is_missing() {
    let (ip, old, visitor) = first(&Site::titled("kept"), true).await;
    let mut owner = old.start();
    has_role(&mut owner, "owner").await;
    let new = next(&ip, &old).await;
    new.aws.add(Rule::new(Fault::refuse(403, "UnauthorizedOperation")).on("AssociateAddress"));
    let mut agent = new.start();
    let for_a_person = async |agent: &Agent| {
        agent.part("address")["fault"]["remedy"].as_str().is_some_and(|text| text.contains("ec2:AssociateAddress"))
    };
    agent.wait_for("a fault for a person", SOON, for_a_person).await;
    assert!(claim(&old.account).await.contains(old.imds.instance_id()) && leads_to(&ip, &old).await);
    assert_eq!(owner.status()["role"], "owner");
    assert!(front(&visitor).await.is_some());
    new.aws.lift();
    has_role(&mut agent, "owner").await;
    assert!(leads_to(&ip, &new).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_moves_and_lost_answers_heal() {
    let (ip, instance, visitor) = first(&Site::titled("healed"), true).await;
    instance.aws.add(Rule::new(Fault::refuse(503, "RequestLimitExceeded")).of(Service::Ec2).times(4));
    instance.aws.add(Rule::new(Fault::LoseAnswer).on("PutObject").about("claim").times(1));
    instance.aws.add(Rule::new(Fault::LoseAnswer).on("AssociateAddress").about("DryRun=false").times(2));
    let mut agent = instance.start();
    agent.wait_until_serving(2 * SOON).await;
    assert!(leads_to(&ip, &instance).await && front(&visitor).await.is_some());
    assert!(claim(&instance.account).await.contains("epoch=1"), "{}", claim(&instance.account).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_address_and_somebody_elses_are_shown_to_a_person() {
    let (ip, mut instance, visitor) = first(&Site::titled("somebody's"), true).await;
    let other = instance.account.launch().await;
    ip.associate(Some(&other)).await;
    let says = async |agent: &mut Agent, text: &str| {
        let said = async |agent: &Agent| agent.part("address")["fault"].to_string().contains(text);
        agent.wait_for(text, SOON, said).await;
    };
    let mut agent = instance.start();
    says(&mut agent, &format!("leads to {other}, and no host claims it")).await;
    assert!(claim(&instance.account).await.is_empty());
    assert_eq!(agent.stop().await, Some(0));

    let missing: toml::Table = toml::from_str("elastic_ip = \"eipalloc-0123456789abcdef0\"").expect("TOML");
    let own = instance.configuration.insert("address".into(), missing.into()).expect("its own");
    let mut agent = instance.start();
    says(&mut agent, "correct [address] elastic_ip").await;
    assert_eq!(agent.stop().await, Some(0));

    instance.configuration.insert("address".into(), own);
    instance.configuration.insert("dns".into(), toml::from_str::<toml::Table>("adopt = true").expect("TOML").into());
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert!(leads_to(&ip, &instance).await && front(&visitor).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_killed_between_its_claim_and_the_move_is_followed_by_the_next() {
    let (ip, old, visitor) = first(&Site::titled("followed"), true).await;
    let mut owner = old.start();
    has_role(&mut owner, "owner").await;
    let killed = next(&ip, &old).await;
    killed.aws.add(Rule::new(Fault::Hang).on("AssociateAddress").about("DryRun=false"));
    let agent = killed.start();
    eventually("it has claimed", SOON, async || claim(&old.account).await.contains(killed.imds.instance_id())).await;
    agent.kill().await;
    assert!(leads_to(&ip, &old).await && front(&visitor).await.is_some(), "nobody is led to what is not there");

    let third = next(&ip, &killed).await;
    let mut agent = third.start();
    has_role(&mut agent, "owner").await;
    assert!(leads_to(&ip, &third).await && front(&visitor).await.is_some());
    has_role(&mut owner, "superseded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_is_passed_over_between_its_claim_and_the_move_never_takes_the_address() {
    let (ip, old, visitor) = first(&Site::titled("stays"), true).await;
    let mut owner = old.start();
    has_role(&mut owner, "owner").await;
    let late = next(&ip, &old).await;
    // It claims, and its move never arrives: the address goes on leading to the old host, which takes the claim back.
    late.aws.add(Rule::new(Fault::Hang).on("AssociateAddress").about("DryRun=false").times(1));
    let mut agent = late.start();
    eventually("it has claimed", SOON, async || claim(&old.account).await.contains(late.imds.instance_id())).await;
    agent.signal(Signal::SIGSTOP);
    eventually("the claim is the old one's again", SOON, async || {
        claim(&old.account).await.contains(&format!("over={}", late.imds.instance_id()))
    })
    .await;
    let before = moves(&late);
    agent.signal(Signal::SIGCONT);
    agent.wait_for("it stands aside", SOON, async |agent| agent.part("address")["phase"] == "standing-aside").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(moves(&late), before, "it moved the address");
    assert!(leads_to(&ip, &old).await && front(&visitor).await.is_some());
    assert_eq!(owner.status()["role"], "owner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_was_stopped_for_long_never_takes_the_address_back() {
    let (ip, old, visitor) = first(&Site::titled("resumed"), true).await;
    let mut spare = old.start();
    has_role(&mut spare, "owner").await;
    let new = next(&ip, &old).await;
    let mut owner = new.start();
    has_role(&mut owner, "owner").await;
    has_role(&mut spare, "superseded").await;
    owner.signal(Signal::SIGSTOP);
    spare.wait_for("owner", 2 * SOON, async |agent| agent.status()["role"] == "owner").await;
    assert!(leads_to(&ip, &old).await && front(&visitor).await.is_some());
    let before = moves(&new);
    owner.signal(Signal::SIGCONT);
    has_role(&mut owner, "superseded").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(moves(&new), before, "it moved the address");
    assert!(leads_to(&ip, &old).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_stays_with_a_host_that_answers_whatever_ec2_knows_of_it() {
    let (ip, old, visitor) = first(&Site::titled("forgotten"), true).await;
    let mut spare = old.start();
    has_role(&mut spare, "owner").await;
    let new = next(&ip, &old).await;
    let mut owner = new.start();
    has_role(&mut owner, "owner").await;
    has_role(&mut spare, "superseded").await;
    old.account.forget(new.imds.instance_id()).await;
    let before = moves(&old);
    let held = claim(&old.account).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((moves(&old), claim(&old.account).await), (before, held), "{}", spare.last_lines());
    assert!(leads_to(&ip, &new).await && front(&visitor).await.is_some());
}
