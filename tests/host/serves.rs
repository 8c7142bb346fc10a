//! What is written down and told about the site's visitors.

use std::{fs, net::SocketAddr};

use toml::{Table, Value};
use world::{Site, eventually};

use crate::{SOON, published};

fn table(pairs: &[(&str, Value)]) -> Value {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    Value::Table(pairs.collect::<Table>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visits_are_written_down_counted_and_told() {
    let (mut instance, visitor) = published(&Site::titled("counted")).await;
    let metrics: SocketAddr =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let access = instance.config_path().with_file_name("access.log");
    let serve = table(&[
        ("access", Value::String(access.display().to_string())),
        ("format", Value::String("json".to_owned())),
        ("metrics", Value::String(metrics.to_string())),
        ("hsts", Value::String("1d".to_owned())),
    ]);
    instance.configuration.insert("serve".to_owned(), serve);
    instance.configuration.insert("limits".to_owned(), table(&[("target", Value::Integer(512))]));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;

    let page = visitor.get("/?visit=1").await.expect("an answer");
    assert_eq!((page.status.as_u16(), page.header("strict-transport-security")), (200, "max-age=86400"));
    let long = visitor.get(&format!("/{}", "x".repeat(600))).await.expect("an answer");
    assert_eq!(long.status, 414);

    let line = async || {
        let text = fs::read_to_string(&access).unwrap_or_default();
        text.lines().any(|line| line.contains("/?visit=1") && serde_json::from_str::<serde_json::Value>(line).is_ok())
    };
    eventually("an access line", SOON, line).await;
    let told = visitor.get_plain(metrics, "/metrics").await.expect("the counters").text();
    assert!(told.contains("responses"), "{told}");
    agent.wait_for("a count", SOON, async |agent| agent.status()["served"]["requests"].as_u64() > Some(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_of_a_package_that_is_not_understood_is_shown_and_the_rest_holds() {
    let site = Site::titled("noted").with("_redirects", "/old /new 301\n/a /b 999\n");
    let (instance, visitor) = published(&site).await;
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    let moved = visitor.get("/old").await.expect("an answer");
    assert_eq!((moved.status.as_u16(), moved.header("location")), (301, "/new"));
    let notes = agent.part("package")["notes"].to_string();
    assert!(notes.contains("_redirects") && notes.contains('2'), "{notes}");
    let shown = instance.command(&["status"]).await;
    assert!(shown.stdout.contains("note: _redirects"), "{}", shown.stdout);
}
