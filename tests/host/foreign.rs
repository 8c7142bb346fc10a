//! Record sets that people have made at the names of a site are left alone, and said with their cure.

use std::time::Duration;

use serde_json::{Value, json};
use world::{Account, Agent, Instance, Record, Site};

use crate::{SOON, published};

/// How long a host has to show that it leaves something alone: several of its looks.
const SEVERAL_LOOKS: Duration = Duration::from_secs(3);

/// The record sets, as a test compares them.
async fn sets(account: &Account) -> Vec<Record> {
    let mut all = account.records().await;
    all.retain(|record| !record.name.starts_with("_acme-challenge"));
    all
}

async fn is_told(agent: &mut Agent, said: &str, remedy: &str) {
    let told = async |agent: &Agent| {
        let fault = agent.part("address")["fault"].clone();
        let has = |key: &str, text: &str| fault[key].as_str().is_some_and(|told| told.contains(text));
        has("said", said) && has("remedy", remedy)
    };
    agent.wait_for(&format!("`{said}` is told"), SOON, told).await;
}

/// Makes that set at the name of the site, by hand.
async fn make(account: &Account, name: &str, set: Value) {
    let mut set = set;
    set["Name"] = format!("{name}.").into();
    account.change(&json!([{ "Action": "CREATE", "ResourceRecordSet": set }])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alias_at_the_name_is_left_alone_with_a_certificate_or_without_and_taken_over_where_that_is_allowed() {
    let (mut instance, _) = published(&Site::titled("alias")).await;
    let account = instance.account.clone();
    let domain = instance.account.domain();
    for kind in ["A", "AAAA"] {
        account.alias(&domain, kind, "d1.cloudfront.net").await;
    }
    let before = sets(&account).await;
    // A CA that answers nothing keeps it without a certificate.
    instance.acme.add(world::Rule::new(world::Fault::refuse(503, "serverInternal")));
    let mut agent = instance.start();
    is_told(&mut agent, "is an alias of d1.cloudfront.net", "[dns] adopt = true").await;
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(sets(&account).await, before, "{}", agent.last_lines());
    instance.acme.lift();
    agent.wait_for_phase("listener", "kept", 2 * SOON).await;
    is_told(&mut agent, "is an alias of d1.cloudfront.net", "[dns] adopt = true").await;
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(sets(&account).await, before, "{}", agent.last_lines());
    assert_eq!(agent.stop().await, Some(0));

    instance.configuration.insert("dns".into(), toml::from_str::<toml::Table>("adopt = true").expect("TOML").into());
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    assert!(instance.is_led_to().await);
    // It has no IPv6: visitors would go on being led elsewhere by that.
    let aliases = sets(&account).await.into_iter().filter(|record| record.alias.is_some()).count();
    assert_eq!(aliases, 0, "{:?}", sets(&account).await);
    // By hand it is an alias again: that is no slip of the hand, but it may be taken over.
    account.alias(&domain, "A", "d2.cloudfront.net").await;
    agent.wait_for("it is led here again", SOON, async |_| instance.is_led_to().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_sets_that_no_address_can_stand_beside_are_left_alone_whatever_is_allowed() {
    let routed = |more: Value| {
        let mut set = json!({ "Type": "A", "TTL": 60, "SetIdentifier": "blue", "ResourceRecords": [{ "Value": "198.51.100.1" }] });
        let set_fields = set.as_object_mut().expect("an object");
        set_fields.extend(more.as_object().expect("an object").clone());
        set
    };
    let table = [
        (routed(json!({ "Weight": 10 })), "(weighted)"),
        (routed(json!({ "Region": "eu-west-1" })), "(latency)"),
        (routed(json!({ "Failover": "PRIMARY" })), "(failover)"),
        (routed(json!({ "GeoLocation": { "CountryCode": "*" } })), "(geolocation)"),
        (routed(json!({ "MultiValueAnswer": true })), "(multivalue answer)"),
        (
            json!({ "Type": "CNAME", "TTL": 60, "ResourceRecords": [{ "Value": "lb.example.net." }] }),
            "a CNAME to lb.example.net",
        ),
    ];
    let tried = table.map(async |(set, said)| {
        let (mut instance, _) = published(&Site::titled("routed")).await;
        let dns: toml::Table = toml::from_str("adopt = true").expect("TOML");
        instance.configuration.insert("dns".into(), dns.into());
        let account = instance.account.clone();
        make(&account, &account.domain(), set).await;
        left_alone(&instance, said, "remove").await;
    });
    futures_util::future::join_all(tried).await;
}

async fn left_alone(instance: &Instance, said: &str, remedy: &str) {
    let before = sets(&instance.account).await;
    let mut agent = instance.start();
    agent.wait_for_phase("listener", "kept", 2 * SOON).await;
    is_told(&mut agent, said, remedy).await;
    tokio::time::sleep(SEVERAL_LOOKS).await;
    assert_eq!(sets(&instance.account).await, before, "{said}: {}", agent.last_lines());
}
