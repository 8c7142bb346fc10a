//! A host without any certificate says what it waits for, and is led to only where no other host is.

use std::time::Duration;

use world::{Agent, Fault, Instance, Rule, Site, eventually};

use crate::{SOON, front, published, serving};

/// The claim to the names, as name servers tell it.
async fn claim(instance: &Instance) -> String {
    instance.account.answers(&format!("_spothost.{}", instance.account.domain()), "TXT").await.join("")
}

/// Whether port 80 says when to come back, and port 443 shows a certificate that no client trusts.
async fn says_that_it_waits(instance: &Instance) -> bool {
    let plain = instance.visitor().get_plain(instance.http(), "/").await;
    let tls = instance.visitor().get("/").await;
    plain.is_ok_and(|answer| answer.status == 503 && !answer.header("retry-after").is_empty())
        && tls.is_err_and(|said| said.contains("TLS: invalid peer certificate"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_name_leads_to_a_host_that_says_what_it_waits_for_until_it_has_its_certificate() {
    let (instance, visitor) = published(&Site::titled("certified")).await;
    instance.acme.add(Rule::new(Fault::refuse(503, "serverInternal")));
    let mut agent = instance.start();
    agent.wait_for("the name leads to it", SOON, async |_| instance.is_led_to().await).await;
    assert!(claim(&instance).await.contains("waiting"), "{}", claim(&instance).await);
    assert!(says_that_it_waits(&instance).await, "{:?}", visitor.get("/").await.map(|answer| answer.status));
    assert_ne!(agent.part("certificate")["phase"], "kept");

    instance.acme.lift();
    agent.wait_until_serving(Duration::from_secs(90)).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("certified")));
    eventually("the claim says so", SOON, async || !claim(&instance).await.contains("waiting")).await;
    assert!(instance.is_led_to().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_stays_with_the_host_that_serves_while_another_waits_for_a_certificate() {
    let (first, visitor, _first_agent) = serving(&Site::titled("stays")).await;
    let mut second = first.successor().await;
    // A vault of its own, and no CA: it never has a certificate.
    second.configuration.insert("vault".into(), format!("{}/other", second.account.vault()).into());
    second.aws.add(Rule::new(Fault::denied()).on("GetSecretValue"));
    let mut agent = second.start();
    agent
        .wait_for("it stands aside", SOON, async |agent: &Agent| agent.part("address")["phase"] == "standing-aside")
        .await;
    assert!(says_that_it_waits(&second).await);
    assert!(first.is_led_to().await && front(&visitor).await.is_some());
    let changes = first.account.changes().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(first.account.changes().await.len(), changes, "the names moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_with_a_certificate_follows_one_that_waits_even_if_it_is_the_older_one() {
    let (older, visitor) = published(&Site::titled("older")).await;
    let mut younger = older.successor().await;
    younger.configuration.insert("vault".into(), format!("{}/other", younger.account.vault()).into());
    younger.aws.add(Rule::new(Fault::denied()).on("GetSecretValue"));
    let mut waiting = younger.start();
    waiting.wait_for("the name leads to it", SOON, async |_| younger.is_led_to().await).await;

    let mut agent = older.start();
    agent.wait_until_serving(SOON).await;
    assert!(older.is_led_to().await && front(&visitor).await.is_some_and(|page| page.contains("older")));
    waiting.wait_for("it stands aside", SOON, async |agent| agent.part("address")["phase"] == "standing-aside").await;
}
