//! The certificate of a host that boots: at hand, expired, revoked, or ordered from a CA that stumbles.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use instant_acme::{AccountCredentials, RevocationReason, RevocationRequest};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use world::{Call, Fault, Instance, Rule, Service, Site, World, eventually};

use crate::{SOON, front, published, serving, vault};

/// What a fault of the CA that passes may cost, beyond what it lasts. Alone on a machine it is a second or two; here
/// seven hosts and other tests share it.
const PASSING: Duration = Duration::from_secs(15);

/// A host whose order meets a fault that passes: how long its certificate took beside what the fault lasted itself, and
/// how many the CA issued.
async fn with(fault: Fault, operation: &'static str, times: u32, lasts: Duration) -> (Duration, usize) {
    let (instance, _) = published(&Site::titled("passing")).await;
    // What the world's IAM takes to judge each call is no cost of the fault.
    instance.aws.allow_everything();
    instance.acme.add(Rule::new(fault).on(operation).times(times));
    let begun = Instant::now();
    let mut agent = instance.start();
    agent.wait_for_phase("certificate", "kept", 3 * SOON).await;
    let took = begun.elapsed();
    // Pebble refuses some calls for their nonce, at random; those finalised nothing.
    let finalized = |call: &&Call| call.operation == "finalize" && call.status.is_none_or(|status| status < 300);
    let calls = instance.acme.calls();
    assert!(instance.acme.rules_are_spent(), "the fault of {operation} was not met\n{}", agent.last_lines());
    (took.saturating_sub(lasts), calls.iter().filter(finalized).count())
}

/// Row by row the faults that a CA has for a moment; with `--nocapture` the times are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_the_ca_that_passes_costs_seconds_and_no_second_certificate() {
    let nothing = Duration::ZERO;
    let hint = Duration::from_secs(2);
    let slow = Duration::from_secs(3);
    let faults = [
        ("nonces refused", Fault::refuse(400, "badNonce"), "newOrder", 5, nothing),
        ("429 with a hint of 2 s", Fault::refuse_for(429, "rateLimited", 2), "newOrder", 1, hint),
        ("500", Fault::refuse(500, "serverInternal"), "newOrder", 1, nothing),
        ("answer to finalize lost", Fault::LoseAnswer, "finalize", 1, nothing),
        ("certificate cut off", Fault::Cut(100), "certificate", 1, nothing),
        ("authorization 3 s late", Fault::Delay(slow), "authorization", 1, slow),
        ("connection cut", Fault::Reset, "newOrder", 1, nothing),
    ];
    let tried = faults.map(|(name, fault, operation, times, lasts)| async move {
        let (took, issued) = with(fault, operation, times, lasts).await;
        println!("{name}: {:.1} s, {issued} issued", took.as_secs_f64());
        assert!(took < PASSING, "{name}: {took:?}");
        assert_eq!(issued, 1, "{name}");
    });
    join_all(tried).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_that_is_down_is_not_missed_while_the_vault_has_a_certificate() {
    let (first, _visitor, agent) = serving(&Site::titled("vaulted")).await;
    agent.kill().await;
    let second = first.successor().await;
    let before = first.acme.calls().len();
    first.acme.add(Rule::new(Fault::Hang));
    let visitor = second.visitor();
    let mut agent = second.start();
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
    assert_eq!(first.acme.calls().len(), before, "the CA was asked before the site was there");
    agent.wait_until_serving(SOON).await;
    // The host asks it for its renewal window, in vain, and goes on.
    eventually("the CA is asked", SOON, async || first.acme.calls().len() > before).await;
    agent.wait_until_serving(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_that_has_expired_is_shown_until_another_is_there() {
    let (instance, visitor) = published(&Site::titled("expired")).await;
    vault::holding(&instance, -48, -1).await;
    let document = vault::document(&instance).await;
    let stored = document["certificate"]["chain"].as_str().expect("a chain").as_bytes();
    let stored = CertificateDer::from_pem_slice(stored).expect("a certificate").to_vec();
    instance.acme.add(Rule::new(Fault::Hold));
    let mut agent = instance.start();
    let expired = async |_: &world::Agent| visitor.shown().await.is_ok_and(|leaf| leaf == stored);
    agent.wait_for("443 shows what is stored", SOON, expired).await;
    assert!(visitor.get("/").await.is_err(), "a browser does not take it");
    let redirected = visitor.get_plain(instance.http(), "/").await.expect("port 80 answers");
    assert!([308, 503].contains(&redirected.status.as_u16()), "{}", redirected.status);

    let back = Instant::now();
    instance.acme.lift();
    agent.wait_for("another certificate", SOON, async |_| front(&visitor).await.is_some()).await;
    println!("{:.1} s after the CA was back", back.elapsed().as_secs_f64());
    assert!(back.elapsed() < PASSING, "{:?}", back.elapsed());
    assert_eq!(instance.acme.accepted("finalize"), 1);
    agent.wait_until_serving(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_whose_clock_is_wrong_by_an_hour_or_a_day_serves_and_orders_nothing() {
    let (mut host, _, agent) = serving(&Site::titled("untimely")).await;
    agent.kill().await;
    let orders = host.acme.calls().iter().filter(|call| call.operation == "newOrder").count();
    for seconds in [-3_600, 86_400] {
        let mut next = host.successor().await;
        next.skew_clock(seconds);
        let visitor = next.visitor();
        let mut agent = next.start();
        agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
        agent.wait_until_serving(SOON).await;
        assert!(next.is_led_to().await);
        let notes = agent.part("certificate")["notes"].to_string();
        assert!(notes.contains("clock of this host"), "{seconds} s: {notes}");
        for service in [Service::S3, Service::Route53, Service::SecretsManager] {
            let calls: Vec<_> = next.aws.calls().into_iter().filter(|call| call.service == service).collect();
            let refused = |call: &&Call| call.status.is_some_and(|status| [400, 401, 403].contains(&status));
            let refused: Vec<_> = calls.iter().filter(refused).map(|call| &call.operation).collect();
            println!("{seconds} s, {service:?}: {} of {} calls refused: {refused:?}", refused.len(), calls.len());
            // One, and those that were on their way beside it.
            assert!(refused.len() <= 3, "{seconds} s: {service:?} refused {refused:?}");
        }
        let now = next.acme.calls().iter().filter(|call| call.operation == "newOrder").count();
        assert_eq!(now, orders, "{seconds} s: an order was made");
        agent.kill().await;
        host = next;
    }
}

/// Revokes the certificate of `instance`, as the account that ordered it.
async fn revoke(instance: &Instance, leaf: &[u8]) {
    let document = vault::document(instance).await;
    let credentials: AccountCredentials =
        serde_json::from_value(document["accounts"][0]["credentials"].clone()).expect("credentials");
    let builder = instant_acme::Account::builder_with_root(instance.acme.roots()).expect("a client");
    let account = builder.from_credentials(credentials).await.expect("an account");
    let certificate = leaf.to_vec().into();
    let request = RevocationRequest { certificate: &certificate, reason: Some(RevocationReason::KeyCompromise) };
    account.revoke(&request).await.expect("revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_that_was_revoked_is_replaced_at_the_next_boot() {
    if !World::shared().tells_renewal_windows().await {
        eprintln!("this release of Pebble says nothing of renewal; nothing was tried");
        return;
    }
    let (first, visitor, agent) = serving(&Site::titled("revoked")).await;
    let revoked = visitor.shown().await.expect("a certificate");
    agent.kill().await;
    revoke(&first, &revoked).await;
    let begun = Instant::now();
    let mut agent = first.start();
    let replaced = async |_: &world::Agent| visitor.shown().await.is_ok_and(|leaf| leaf != revoked);
    agent.wait_for("another certificate", 2 * SOON, replaced).await;
    println!("{:.1} s after the boot", begun.elapsed().as_secs_f64());
    eventually("both orders are counted", SOON, async || first.acme.accepted("finalize") == 2).await;
    assert!(front(&visitor).await.is_some());
    // And it stays at that.
    agent.wait_for_phase("certificate", "kept", SOON).await;
    assert_eq!(first.acme.accepted("newOrder"), 2);
}
