//! A broken package never replaces a working site.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use world::{Agent, Site, archive};

use crate::{SOON, front, serving};

/// The fault of the package keeper, if it is younger than `since`.
fn refusal(agent: &Agent, since: OffsetDateTime) -> Option<String> {
    let fault = agent.part("package")["fault"].clone();
    let at = OffsetDateTime::parse(fault["at"].as_str()?, &Rfc3339).ok()?;
    (at > since && fault["tries"].as_u64() > Some(0)).then(|| fault["said"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_package_is_refused_with_its_reason_and_the_site_stays() {
    let good = Site::of_files("good", 30);
    let (instance, visitor, mut agent) = serving(&good).await;
    // What is wrong, the package, and a word that the reason has to have.
    let table: [(&str, Vec<u8>, &[&str]); 11] = [
        ("truncated", good.truncated(), &[]),
        ("flipped", good.flipped(), &["index.html"]),
        ("bomb", good.bomb(), &["bomb", "large", "bytes"]),
        ("absolute name", good.zip_with_name("/etc/passwd"), &["/etc/passwd"]),
        ("name that leads out", good.zip_with_name("../../etc/passwd"), &["../../etc/passwd"]),
        ("name of a drive", good.zip_with_name("..\\passwd"), &["passwd"]),
        ("link", good.zip_with_link("link", "/etc/passwd"), &["link"]),
        ("duplicate", good.zip_with_duplicate(), &["index.html"]),
        ("zip without a file", archive(&[]), &[]),
        ("empty object", Vec::new(), &[]),
        ("page instead of a zip", b"<!doctype html><title>503</title>".to_vec(), &[]),
    ];
    for (what, package, words) in table {
        let since = OffsetDateTime::now_utc();
        instance.account.put("site-latest.zip", package).await;
        agent.wait_for(what, SOON, async |agent| refusal(agent, since).is_some()).await;
        let said = refusal(&agent, since).expect("just seen");
        assert!(!said.is_empty(), "{what}: refused without a reason");
        assert!(words.is_empty() || words.iter().any(|word| said.contains(word)), "{what}: {said}");
        assert!(front(&visitor).await.is_some_and(|page| page.contains("good")), "{what}: the site is gone");
        assert_eq!(agent.part("package")["phase"], "degraded", "{what}");
    }
    instance.account.put("site-latest.zip", Site::titled("better").zip()).await;
    agent
        .wait_for("the next good one", SOON, async |_| {
            front(&visitor).await.is_some_and(|page| page.contains("better"))
        })
        .await;
    assert!(agent.resident_kib() < 256 << 10, "{} KiB", agent.resident_kib());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_is_taken_away_leaves_the_site() {
    let (instance, visitor, mut agent) = serving(&Site::titled("stays")).await;
    let since = OffsetDateTime::now_utc();
    instance.account.delete("site-latest.zip").await;
    agent.wait_for("a word about it", SOON, async |agent| refusal(agent, since).is_some()).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("stays")));
    instance.account.put("other-latest", Site::titled("next").zip()).await;
    agent
        .wait_for("the next one", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("next")))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_configuration_ends_with_64_the_line_and_the_reason() {
    let mut instance = world::Instance::new().await;
    instance.configuration.insert("dommain".to_owned(), toml::Value::String("www.example.org".to_owned()));
    let ended = instance.command(&["check"]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("spothost.toml:") && ended.stderr.contains("dommain"), "{ended:?}");
    assert_eq!(instance.start().ended(SOON).await, Some(64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_that_is_taken_ends_the_process_with_its_name() {
    let instance = world::Instance::new().await;
    let _taken = std::net::TcpListener::bind(instance.https()).expect("a free port");
    let agent = instance.start();
    agent.wait_for_line(&instance.https().to_string(), SOON).await;
    assert!(agent.ended(SOON).await.is_some_and(|code| code != 0));
}
