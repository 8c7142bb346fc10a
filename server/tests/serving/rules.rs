//! What a package says about how it is served: `_redirects`, `_headers`, `site.toml`.

use crate::{
    client::{get, request},
    package::Package,
    server::{Server, site},
};

fn package(redirects: &str, fields: &str, policy: &str) -> Vec<u8> {
    Package::new()
        .deflated("index.html", "home")
        .deflated("about.html", "about")
        .deflated("app.html", "app")
        .deflated("gone.html", "gone")
        .deflated("docs/index.html", "docs")
        .deflated("404.html", "no such page")
        .stored("app.3f9c1a7b.js", "js")
        .deflated("_redirects", redirects)
        .stored("_headers", fields)
        .stored("site.toml", policy)
        .finish()
}

#[tokio::test]
async fn redirects_and_rewrites_are_followed() {
    let rules = "/old/* /about?from=:splat 302\n/moved /about\n/about /never\n/docs /forced 307!\n/app/* /app.html 200\n\
                 /bundle /app.3f9c1a7b.js 200\n/gone/* /gone.html 404\n/broken /nothing.html 200\n/away https://example.com/\n";
    let server = Server::with(package(rules, "", ""), |_| {});
    for (target, status, location, text) in [
        ("/old/x%20y", 302, Some("/about?from=x%20y"), ""),
        ("/moved?a=b", 301, Some("/about?a=b"), ""),
        ("/away", 301, Some("https://example.com/"), ""),
        ("/about", 200, None, "about"),
        ("/docs", 307, Some("/forced"), ""),
        ("/app/any/where", 200, None, "app"),
        ("/bundle", 200, None, "js"),
        ("/gone/x", 404, None, "gone"),
        ("/broken", 404, None, "no such page"),
        ("/_redirects", 404, None, "no such page"),
        ("/_headers", 404, None, "no such page"),
        ("/site.toml", 404, None, "no such page"),
    ] {
        let response = get(&server, target, &[]).await;
        assert_eq!((response.status, response.field("location")), (status, location), "{target}");
        assert_eq!(response.text(), text, "{target}");
    }
    let rewritten = get(&server, "/bundle", &[]).await;
    assert_eq!(
        rewritten.field("cache-control"),
        Some("no-cache"),
        "what stands in for something else is not immutable"
    );
    assert_eq!(request(&server, "HEAD", "/old/x", &[]).await.status, 302);
}

#[tokio::test]
async fn fields_of_the_package_are_added_to_files_and_errors() {
    let fields = "/*\n  X-Frame-Options: DENY\n/about\n  Cache-Control: max-age=60\n  Link: </a>; rel=preload\n/lost\n  Cache-Control: immutable\n";
    let server = Server::with(package("", fields, ""), |_| {});
    let about = get(&server, "/about", &[]).await;
    assert_eq!((about.field("x-frame-options"), about.field("cache-control")), (Some("DENY"), Some("max-age=60")));
    assert_eq!(about.field("link"), Some("</a>; rel=preload"));
    let tag = about.field("etag").unwrap().to_owned();
    let unchanged = get(&server, "/about", &[&format!("If-None-Match: {tag}")]).await;
    assert_eq!((unchanged.status, unchanged.field("cache-control")), (304, Some("max-age=60")));
    let lost = get(&server, "/lost", &[]).await;
    assert_eq!(
        (lost.status, lost.field("x-frame-options"), lost.field("cache-control")),
        (404, Some("DENY"), Some("no-cache"))
    );
}

#[tokio::test]
async fn the_slash_policy_leads_to_one_address_in_one_hop_with_the_query() {
    for (policy, target, expected) in [
        ("", "/about", Ok("about")),
        ("", "/about/", Ok("about")),
        ("", "/docs", Ok("docs")),
        ("slash = 'add'", "/about?a=b", Err("/about/?a=b")),
        ("slash = 'add'", "/about/", Ok("about")),
        ("slash = 'add'", "/docs", Err("/docs/")),
        ("slash = 'add'", "/about.html", Ok("about")),
        ("slash = 'add'", "/", Ok("home")),
        ("slash = 'strip'", "/about/?a=b", Err("/about?a=b")),
        ("slash = 'strip'", "/docs/", Err("/docs")),
        ("slash = 'strip'", "/docs", Ok("docs")),
        ("slash = 'strip'", "/docs/index.html", Ok("docs")),
        ("slash = 'strip'", "/", Ok("home")),
    ] {
        let server = Server::with(package("", "", policy), |_| {});
        let response = get(&server, target, &[]).await;
        match expected {
            Ok(text) => assert_eq!((response.status, &response.text()[..]), (200, text), "{policy} {target}"),
            Err(location) => {
                assert_eq!((response.status, response.field("location")), (308, Some(location)), "{policy} {target}");
            }
        }
    }
}

#[tokio::test]
async fn a_single_page_application_answers_for_its_paths_but_not_for_assets() {
    let server = Server::with(package("", "", "fallback = 'app.html'\n[cache]\npages = 'max-age=5'"), |_| {});
    let page = get(&server, "/users/7", &["Accept: text/html"]).await;
    assert_eq!((page.status, &page.text()[..], page.field("cache-control")), (200, "app", Some("no-cache")));
    assert_eq!(get(&server, "/app.0000000a.js", &["Accept: */*"]).await.status, 404);
    assert_eq!(get(&server, "/about", &[]).await.field("cache-control"), Some("max-age=5"));
}

#[test]
fn faults_in_the_settings_are_noted_and_the_site_is_served() {
    let site = site(package("/a /b 999\n", "  X: y\n", "slash = 7"));
    let notes: Vec<_> = site.notes().iter().map(|note| format!("{}:{}", note.file, note.line)).collect();
    assert_eq!(notes, ["_redirects:1", "_headers:1", "site.toml:1"]);
    let unknown = crate::server::site(package("", "", "fallback = 'nothing.html'"));
    assert!(unknown.notes()[0].text.contains("not in the package"));
}
