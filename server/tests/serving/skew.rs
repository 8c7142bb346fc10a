//! Fingerprinted files of the version before stay reachable for a while; nothing else does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use spothost_server::{PackageLimits, Site};

use crate::{
    client::get,
    package::Package,
    server::{Server, site},
};

const LONG: Duration = Duration::from_secs(3600);

fn version(number: u32, fields: &str) -> Vec<u8> {
    Package::new()
        .deflated("index.html", format!("home {number}"))
        .deflated(&format!("only-{number}.html"), "page")
        .deflated(&format!("app.{number}f9c1a7b.js"), format!("script {number}"))
        .stored(&format!("app.{number}f9c1a7b.js.br"), format!("brotli {number}"))
        .stored("app.ffffff0.js", format!("shared {number}"))
        .deflated("404.html", "no such page")
        .stored("_redirects", "/gone/* / 302\n")
        .stored("_headers", fields)
        .finish()
}

fn after(before: &Arc<Site>, package: Vec<u8>, skew: Duration) -> Arc<Site> {
    let site = Site::from_bytes(Bytes::from(package), &PackageLimits::default()).unwrap();
    Arc::new(site.after(before, skew))
}

#[tokio::test]
async fn script_of_the_version_before_is_found_and_its_pages_are_not() {
    let one = site(version(1, "/*.js\n  X-Version: one\n"));
    let server = Server::with(version(1, ""), |_| {});
    server.publish(after(&one, version(2, ""), LONG));
    for (target, status, text) in [
        ("/", 200, "home 2"),
        ("/app.2f9c1a7b.js", 200, "script 2"),
        ("/app.1f9c1a7b.js", 200, "script 1"),
        ("/app.ffffff0.js", 200, "shared 2"),
        ("/only-1", 404, "no such page"),
        ("/only-1.html", 404, "no such page"),
        ("/app.3f9c1a7b.js", 404, "no such page"),
    ] {
        let answer = get(&server, target, &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{target}");
    }
    let script = get(&server, "/app.1f9c1a7b.js", &["Accept-Encoding: br"]).await;
    assert_eq!((script.text().as_str(), script.field("x-version")), ("brotli 1", Some("one")));
    assert_eq!(script.field("cache-control"), Some("public, max-age=31536000, immutable"));
    let tag = format!("If-None-Match: {}", script.field("etag").unwrap());
    assert_eq!(get(&server, "/app.1f9c1a7b.js", &["Accept-Encoding: br", &tag]).await.status, 304);
}

#[tokio::test]
async fn versions_before_that_are_kept_too_but_not_without_end() {
    let mut newest = site(version(1, ""));
    let server = Server::with(version(1, ""), |_| {});
    for number in 2..=6 {
        newest = after(&newest, version(number, ""), LONG);
    }
    server.publish(newest.clone());
    for (number, status) in [(6, 200), (5, 200), (4, 200), (3, 200), (2, 200), (1, 404)] {
        assert_eq!(get(&server, &format!("/app.{number}f9c1a7b.js"), &[]).await.status, status, "version {number}");
    }
    newest.forget_all();
    assert_eq!(get(&server, "/app.5f9c1a7b.js", &[]).await.status, 404);
    assert_eq!(get(&server, "/app.6f9c1a7b.js", &[]).await.status, 200);
}

#[tokio::test]
async fn its_time_over_the_version_before_is_gone_with_its_package() {
    let one = site(version(1, ""));
    let held = Arc::downgrade(&one);
    let server = Server::with(version(1, ""), |_| {});
    let two = after(&one, version(2, ""), Duration::from_millis(1));
    drop(one);
    server.publish(two.clone());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(get(&server, "/app.1f9c1a7b.js", &[]).await.status, 404);
    two.forget_expired();
    assert!(held.upgrade().is_none(), "nothing holds it any more");
    let none = after(&two, version(3, ""), Duration::ZERO);
    server.publish(none);
    assert_eq!(get(&server, "/app.2f9c1a7b.js", &[]).await.status, 404, "none is kept where none is to be");
}
