//! What a package says about how it is served: `_redirects`, `_headers`, `site.toml`.

use crate::{
    client::{get, h2, h2_get, h2_request, plain, request},
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
                 /bundle /app.3f9c1a7b.js 200\n/gone/* /gone.html 404\n/left/* /gone.html 410\n/lost /nothing.html 410\n\
                 /help /about#faq\n/my%20page /about\n/broken /nothing.html 200\n/away https://example.com/\n";
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
        ("/left/x", 410, None, "gone"),
        ("/lost", 410, None, "no such page"),
        ("/help?utm_source=n", 301, Some("/about?utm_source=n#faq"), ""),
        ("/my%20page", 301, Some("/about"), ""),
        ("/broken", 404, None, "no such page"),
        ("/_redirects", 404, None, "no such page"),
        ("/_headers", 404, None, "no such page"),
        ("/site.toml", 404, None, "no such page"),
    ] {
        let response = get(&server, target, &[]).await;
        assert_eq!((response.status, response.field("location")), (status, location), "{target}");
        assert_eq!(response.text(), text, "{target}");
        if location.is_some() {
            assert_eq!(response.field("cache-control"), Some("no-cache"), "{target}: no package could mend it");
        }
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

/// Rules for one host alone, where `example.org` is an alias of `www.example.org`.
#[tokio::test]
async fn rules_for_a_host_are_obeyed_where_it_is_the_domain_or_an_alias() {
    let rules = "https://example.org/blog/* https://www.example.org/news/:splat 302\nhttps://example.org/gone /gone.html 410\n\
                 http://example.org/old /new\nhttps://other.example/* /never\nhttps://www.example.org/here /there\n\
                 https://www.example.org/about /never\nhttps://www.example.org/docs/* /forced 302!\n/loop/* https://example.org/loop/:splat\n";
    let fields = "https://example.org/*\n  X-Alias: yes\nhttps://www.example.org/*\n  X-Domain: yes\n";
    let package = package(rules, fields, "");
    assert_eq!(site(package.clone()).notes().iter().filter(|note| note.host.is_some()).count(), 9);
    let server = Server::with(package, |_| {});
    let alias = &["Host: example.org"][..];
    for (target, host, status, location) in [
        ("/blog/a?b=c", alias, 302, Some("https://www.example.org/news/a?b=c")),
        ("/gone", alias, 410, None),
        ("/about", alias, 308, Some("/about")),
        ("/here", alias, 308, Some("/here")),
        ("/here", &[], 301, Some("/there")),
        ("/about", &[], 200, None),
        ("/docs/x", &[], 302, Some("/forced")),
        ("/blog/a", &[], 404, None),
        ("/loop/x", &[], 404, None),
    ] {
        let response = get(&server, target, host).await;
        let place = response.field("location").map(|place| match place.strip_prefix("https://www.example.org:") {
            Some(with_port) => &with_port[with_port.find('/').unwrap()..],
            None => place,
        });
        assert_eq!((response.status, place), (status, location), "{host:?} {target}");
        let said = (response.field("x-alias"), response.field("x-domain"));
        let expected = match (status, host.is_empty()) {
            (301..=308, _) => (None, None),
            (_, true) => (None, Some("yes")),
            (_, false) => (Some("yes"), None),
        };
        assert_eq!(said, expected, "{host:?} {target}");
    }
    // Without TLS nothing is answered but redirects.
    let mut client = plain(&server).await;
    for (target, status, location) in [("/old", 301, "/new"), ("/gone", 308, "https://www.example.org")] {
        client.send("GET", target, alias).await;
        let response = client.response().await;
        assert!(response.status == status && response.field("location").unwrap().starts_with(location), "{target}");
    }
}

#[tokio::test]
async fn every_cookie_has_a_field_of_its_own() {
    let fields = "/*\nSet-Cookie: a=1; Path=/\nSet-Cookie: b=2; Expires=Wed, 01 Dec 2027 00:00:00 GMT\n";
    let server = Server::with(package("", fields, ""), |_| {});
    let expected = ["a=1; Path=/", "b=2; Expires=Wed, 01 Dec 2027 00:00:00 GMT"];
    let response = get(&server, "/about", &[]).await;
    let cookies: Vec<_> = response.fields().into_iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!(cookies.iter().map(|(_, value)| &value[..]).collect::<Vec<_>>(), expected);
    let (head, _) = h2_get(&mut h2(&server).await, h2_request("GET", "/about")).await.unwrap();
    assert_eq!(head.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_slash_policy_leads_to_one_address_in_one_hop_with_the_query() {
    let rows = [
        ("", "/about", Ok("about")),
        ("", "/about/", Err("/about")),
        ("", "/about/?", Err("/about?")),
        ("", "/docs?x=1", Err("/docs/?x=1")),
        ("", "/docs/?x=1", Ok("docs")),
        ("", "/%64ocs", Err("/docs/")),
        ("", "/both", Ok("both")),
        ("", "/both/", Ok("both's folder")),
        ("", "/%C3%A4%20b", Err("/%C3%A4%20b/")),
        ("", "/index", Err("/")),
        ("", "/docs/index", Err("/docs/")),
        ("", "/docs/index/", Err("/docs/")),
        ("", "/index.html", Ok("home")),
        ("", "/about.html", Ok("about")),
        ("", "/docs/index.html?a", Ok("docs")),
        ("slash = 'auto'", "/docs", Err("/docs/")),
        ("slash = 'keep'", "/docs", Ok("docs")),
        ("slash = 'keep'", "/docs/", Ok("docs")),
        ("slash = 'keep'", "/about/", Ok("about")),
        ("slash = 'keep'", "/docs/index", Ok("docs")),
        ("slash = 'add'", "/about?a=b", Err("/about/?a=b")),
        ("slash = 'add'", "/about/", Ok("about")),
        ("slash = 'add'", "/docs", Err("/docs/")),
        ("slash = 'add'", "/docs/index", Err("/docs/")),
        ("slash = 'add'", "/both", Ok("both")),
        ("slash = 'add'", "/about.html", Ok("about")),
        ("slash = 'add'", "/", Ok("home")),
        ("slash = 'strip'", "/about/?a=b", Err("/about?a=b")),
        ("slash = 'strip'", "/docs/", Err("/docs")),
        ("slash = 'strip'", "/docs", Ok("docs")),
        ("slash = 'strip'", "/docs/index", Err("/docs")),
        ("slash = 'strip'", "/both/", Ok("both's folder")),
        ("slash = 'strip'", "/docs/index.html", Ok("docs")),
        ("slash = 'strip'", "/", Ok("home")),
    ];
    for (policy, target, expected) in rows {
        let package = Package::new()
            .deflated("index.html", "home")
            .deflated("about.html", "about")
            .deflated("docs/index.html", "docs")
            .deflated("both.html", "both")
            .deflated("both/index.html", "both's folder")
            .deflated("ä b/index.html", "encoded")
            .stored("site.toml", policy);
        let server = Server::with(package.finish(), |_| {});
        for method in ["GET", "HEAD"] {
            let response = request(&server, method, target, &[]).await;
            let text = response.text();
            match expected {
                Ok(expected) => {
                    let text = if method == "HEAD" { expected } else { &text };
                    assert_eq!((response.status, text), (200, expected), "{policy} {method} {target}");
                }
                Err(location) => {
                    let moved = (response.status, response.field("location"), response.field("cache-control"));
                    assert_eq!(moved, (308, Some(location), Some("no-cache")), "{policy} {method} {target}");
                }
            }
        }
        let refused = request(&server, "POST", target, &[]).await;
        assert_eq!((refused.status, refused.field("location")), (405, None), "{policy} {target}");
    }
}

#[tokio::test]
async fn no_slash_leads_to_another_host() {
    for policy in ["", "slash = 'add'", "slash = 'strip'"] {
        let server = Server::with(package("", "", policy), |_| {});
        for (target, status) in [
            ("//docs", 404),
            ("//evil.example/..", 400),
            ("//evil.example/%2e%2e", 400),
            ("/%2Fevil.example/", 404),
            ("/%5Cevil.example", 400),
            ("//evil.example/docs", 404),
            ("/docs//", 404),
            ("//", 404),
        ] {
            let response = get(&server, target, &[]).await;
            assert_eq!((response.status, response.field("location")), (status, None), "{policy} {target}");
        }
    }
}

#[tokio::test]
async fn rules_come_before_the_slash_if_forced_and_after_it_if_not() {
    let rules = "/docs /forced 302!\n/about/ /never\n/docs/ /docs 301!\n/old /docs\n";
    let server = Server::with(package(rules, "", ""), |_| {});
    for (target, status, location) in [
        ("/docs", 302, Some("/forced")),
        ("/docs/", 302, Some("/forced")),
        ("/about/", 308, Some("/about")),
        ("/old", 301, Some("/docs")),
    ] {
        let response = get(&server, target, &[]).await;
        assert_eq!((response.status, response.field("location")), (status, location), "{target}");
    }
}

#[tokio::test]
async fn a_single_page_application_answers_for_its_paths_but_not_for_assets() {
    let server = Server::with(package("", "", "fallback = 'app.html'\n[cache]\npages = 'max-age=5'"), |_| {});
    for target in ["/users/7", "/items/a%2Fb", "/docs%2Findex.html/", "/%2F", "/users%2F7/"] {
        let page = get(&server, target, &["Accept: text/html"]).await;
        let seen = (page.status, &page.text()[..], page.field("cache-control"));
        assert_eq!(seen, (200, "app", Some("no-cache")), "{target}");
    }
    // An encoded slash is none, whatever lies at the path with one.
    for (target, status) in [("/app.0000000a.js", 404), ("/docs%2Findex.html", 404), ("/..%2Fx", 400)] {
        assert_eq!(get(&server, target, &["Accept: */*"]).await.status, status, "{target}");
    }
    assert_eq!(get(&server, "/about", &[]).await.field("cache-control"), Some("max-age=5"));
}

#[tokio::test]
async fn what_stands_in_for_something_else_is_never_immutable_whatever_the_fields_say() {
    let fields = "/*\n  Cache-Control: public, max-age=31536000, immutable\n";
    let rules = "/rewritten /about.html 200\n";
    let server = Server::with(package(rules, fields, "fallback = 'app.html'"), |_| {});
    for (target, caching) in [
        ("/about", "public, max-age=31536000, immutable"),
        ("/users/7", "no-cache"),
        ("/rewritten", "no-cache"),
        ("/lost.js", "no-cache"),
    ] {
        assert_eq!(get(&server, target, &[]).await.field("cache-control"), Some(caching), "{target}");
    }
    for (fields, status) in [("If-Match: \"other\"", 412), ("Range: bytes=1000000-", 416)] {
        let refused = get(&server, "/about", &[fields]).await;
        assert_eq!((refused.status, refused.field("cache-control")), (status, Some("no-cache")), "{fields}");
    }
}

#[test]
fn faults_in_the_settings_are_noted_and_the_site_is_served() {
    let many: String = (1..=12).map(|number| format!("/{number} /b 999\n")).collect();
    let site = site(package(&many, "  X: y\n", "slash = 7"));
    let notes: Vec<_> = site.notes().iter().map(|note| format!("{}:{}", note.file, note.line)).collect();
    let mut expected: Vec<_> = (1..=12).map(|line| format!("_redirects:{line}")).collect();
    expected.extend(["_headers:1".to_owned(), "site.toml:1".to_owned()]);
    assert_eq!(notes, expected);
    let unknown = crate::server::site(package("", "", "fallback = 'nothing.html'"));
    assert!(unknown.notes()[0].text.contains("not in the package"));
}
