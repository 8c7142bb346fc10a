//! What a path leads to, and how it is represented.

use std::{io::Read, sync::Arc};

use spothost_server::{PackageLimits, Site};

use crate::{
    client::{get, h2, h2_get, h2_request, plain, request},
    package::{Package, noise, text},
    server::Server,
    zips::{Raw, stored, zip},
};

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_deflated_file_is_served_as_gzip_or_inflated() {
    let server = Server::start();
    let coded = get(&server, "/", &["Accept-Encoding: gzip, br"]).await;
    assert_eq!((coded.status, coded.field("content-encoding")), (200, Some("gzip")));
    assert_eq!(gunzip(&coded.content), text("home", 22_000));
    let plain = get(&server, "/", &[]).await;
    assert_eq!((plain.status, plain.field("content-encoding")), (200, None));
    assert_eq!(plain.text(), text("home", 22_000));
    assert!(plain.content.len() > coded.content.len());
    assert_ne!(coded.field("etag"), plain.field("etag"), "each representation has its own tag");
    for response in [coded, plain] {
        assert_eq!(response.field("vary"), Some("accept-encoding"));
        assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.field("cache-control"), Some("no-cache"));
        assert_eq!(response.field("last-modified"), Some("Sat, 21 Nov 2026 12:00:00 GMT"));
        assert_eq!(response.field("accept-ranges"), Some("bytes"));
        assert!(response.field("date").is_some());
    }
}

/// Zip tools deflate files that are hardly longer than gzip's frame, or that are compressed already.
#[tokio::test]
async fn a_deflated_file_is_never_sent_as_more_bytes_than_it_has() {
    let (small, image) = ("a page of twenty-six bytes".to_owned(), noise(70_000));
    let package = Package::new().deflated("small.txt", &small).deflated("image.jpg", &image);
    let package = package.deflated("index.html", text("home", 200)).deflated("none.txt", "");
    let server = Server::with(package.finish(), |_| {});
    for accepted in ["gzip", "gzip, identity;q=0", "*"] {
        let accepted = format!("Accept-Encoding: {accepted}");
        for (target, content) in [("/small.txt", small.as_bytes()), ("/image.jpg", &image), ("/none.txt", b"")] {
            let response = get(&server, target, &[&accepted]).await;
            assert_eq!((response.status, response.field("content-encoding")), (200, None), "{target} {accepted}");
            assert_eq!(response.field("vary"), None, "nobody gets anything else");
            assert!(response.content == content, "{target} {accepted}");
            let tag = format!("If-None-Match: {}", response.field("etag").unwrap());
            assert_eq!(get(&server, target, &[&tag]).await.status, 304);
        }
        assert_eq!(get(&server, "/", &[&accepted]).await.field("content-encoding"), Some("gzip"));
    }
}

#[tokio::test]
async fn file_whose_time_the_package_does_not_say_was_changed_when_that_was_published() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let [none, own] = [(1980, 1, 1), (2026, 11, 21)].map(|(year, month, day)| {
        zip::DateTime::from_date_and_time(year, month, day, 12 * u8::from(year > 1980), 0, 0).unwrap()
    });
    for (name, time) in [("index.html", none), ("dated.html", own)] {
        let options = zip::write::SimpleFileOptions::default().last_modified_time(time);
        zip.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut zip, b"<h1>x</h1>").unwrap();
    }
    let package = bytes::Bytes::from(zip.finish().unwrap().into_inner());
    let site = || Site::from_bytes(package.clone(), &PackageLimits::default()).unwrap();
    let server = Server::without_site(|_| {});
    for (site, expected) in [(site(), None), (site().published(1_795_003_200), Some("Wed, 18 Nov 2026 12:00:00 GMT"))] {
        server.publish(Arc::new(site));
        let page = get(&server, "/", &[]).await;
        assert_eq!((page.status, page.field("last-modified")), (200, expected));
        let dated = get(&server, "/dated.html", &[]).await;
        assert_eq!(dated.field("last-modified"), Some("Sat, 21 Nov 2026 12:00:00 GMT"));
    }
    let again = get(&server, "/", &["If-Modified-Since: Wed, 18 Nov 2026 12:00:00 GMT"]).await;
    assert_eq!(again.status, 304);
}

#[tokio::test]
async fn a_stored_file_is_served_as_it_lies_whatever_is_accepted() {
    let server = Server::start();
    let image = get(&server, "/logo.png", &["Accept-Encoding: gzip"]).await;
    assert_eq!((image.status, image.field("content-encoding"), image.field("vary")), (200, None, None));
    assert_eq!(image.content, noise(100_000));
    assert_eq!(get(&server, "/empty.txt", &[]).await.content, b"");
}

#[tokio::test]
async fn files_beside_a_file_are_its_other_codings() {
    let server = Server::start();
    for (accepted, coding) in [
        ("br, gzip, zstd", Some("br")),
        ("gzip, zstd", Some("zstd")),
        ("gzip", Some("gzip")),
        ("br;q=0.5, gzip;q=0.8", Some("gzip")),
        ("br;q=0, identity", None),
        ("identity;q=0, br;q=0.1", Some("br")),
        ("*;q=0", None),
        ("deflate", None),
    ] {
        let response = get(&server, "/style.css", &[&format!("Accept-Encoding: {accepted}")]).await;
        assert_eq!((response.status, response.field("content-encoding")), (200, coding), "{accepted}");
        assert_eq!(response.field("content-type"), Some("text/css; charset=utf-8"));
    }
    let by_name = get(&server, "/style.css.br", &["Accept-Encoding: br"]).await;
    assert_eq!((by_name.field("content-encoding"), by_name.text()), (None, "brotli form of style.css".into()));
}

#[tokio::test]
async fn clean_urls_lead_to_their_pages() {
    let server = Server::start();
    for (target, status, begins) in [
        ("/", 200, "home"),
        ("/index.html", 200, "home"),
        ("/about", 200, "about"),
        ("/about/", 308, ""),
        ("/about.html", 200, "about"),
        ("/docs", 308, ""),
        ("/docs/", 200, "docs"),
        ("/docs/index.html?a=b", 200, "docs"),
        ("/sp%20ace/%C3%A4.txt", 200, "unicode"),
        ("/.well-known/security.txt", 200, "Contact"),
        ("/nothing", 404, "no such page"),
        ("/docs/nothing", 404, "no such page in docs"),
        ("/docs/deeper/nothing", 404, "no such page in docs"),
        ("/nothing/docs", 404, "no such page"),
        ("/about//", 404, "no such page"),
        ("//about", 404, "no such page"),
        ("/.env", 404, "no such page"),
        ("/../Cargo.toml", 400, "400"),
        ("/%2e%2e/x", 400, "400"),
        ("/%00", 400, "400"),
    ] {
        let response = get(&server, target, &[]).await;
        assert_eq!(
            (response.status, response.text().starts_with(begins)),
            (status, true),
            "{target}: {}",
            response.text()
        );
    }
}

#[tokio::test]
async fn only_fingerprinted_names_are_immutable_and_never_a_fallback() {
    let server = Server::start();
    let immutable = get(&server, "/app.3f9c1a.js", &[]).await;
    assert_eq!(immutable.field("cache-control"), Some("public, max-age=31536000, immutable"));
    let gone = get(&server, "/app.000000a.js", &[]).await;
    assert_eq!((gone.status, gone.field("cache-control"), gone.field("etag")), (404, Some("no-cache"), None));
}

#[tokio::test]
async fn a_name_in_code_page_437_is_found_by_its_characters() {
    let page = Raw { name: b"caf\x82.html".to_vec(), ..stored("x", "coffee") };
    let windows = Raw { name: b"men\x81\\\x84.html".to_vec(), made_by: 20, attributes: 0, ..stored("x", "menu") };
    let server = Server::with(zip(&[stored("index.html", "home"), page, windows]), |_| {});
    for (target, text) in [("/caf%C3%A9.html", "coffee"), ("/caf%C3%A9", "coffee"), ("/men%C3%BC/%C3%A4", "menu")] {
        let response = get(&server, target, &[]).await;
        assert_eq!((response.status, &response.text()[..]), (200, text), "{target}");
    }
    assert_eq!(get(&server, "/caf%82.html", &[]).await.status, 400);
}

#[tokio::test]
async fn what_tools_leave_and_what_the_package_says_is_hidden() {
    let files = [
        "index.html",
        "tags/.net/index.html",
        ".git/config",
        ".env",
        ".DS_Store",
        ".htaccess",
        ".nojekyll",
        "drafts/a.html",
        ".well-known/x",
        "secret.html",
        "secret.html.br",
        "a/Thumbs.db",
    ];
    for (policy, seen) in [
        ("", &["/", "/tags/.net/", "/drafts/a", "/.well-known/x", "/secret", "/secret.html.br"][..]),
        ("hide = ['drafts', 'secret.html', '.*']\nshow = ['.nojekyll']", &["/", "/.nojekyll", "/.well-known/x"]),
    ] {
        let package = files.iter().fold(Package::new(), |package, name| package.stored(name, name));
        let server = Server::with(package.stored("site.toml", policy).finish(), |_| {});
        for target in [
            "/",
            "/tags/.net/",
            "/.git/config",
            "/.env",
            "/.DS_Store",
            "/.htaccess",
            "/.nojekyll",
            "/drafts/a",
            "/.well-known/x",
            "/secret",
            "/secret.html.br",
            "/a/Thumbs.db",
            "/site.toml",
        ] {
            let status = get(&server, target, &["Accept-Encoding: br"]).await.status;
            assert_eq!(status, if seen.contains(&target) { 200 } else { 404 }, "{policy}: {target}");
        }
    }
}

#[tokio::test]
async fn methods_are_those_of_files() {
    let server = Server::start();
    let whole = get(&server, "/", &[]).await;
    let head = request(&server, "HEAD", "/", &[]).await;
    assert_eq!((head.status, head.content.len()), (200, 0));
    for field in ["content-length", "content-type", "etag", "last-modified", "vary"] {
        assert_eq!(head.field(field), whole.field(field), "{field}");
    }
    for target in ["/", "*"] {
        let options = request(&server, "OPTIONS", target, &[]).await;
        assert_eq!((options.status, options.field("allow")), (204, Some("GET, HEAD, OPTIONS")), "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "TRACE", "PATCH"] {
        let refused = request(&server, method, "/", &[]).await;
        assert_eq!((refused.status, refused.field("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    for method in ["BREW", "PROPFIND", "get"] {
        let unknown = request(&server, method, "/", &[]).await;
        assert_eq!((unknown.status, unknown.field("allow")), (501, None), "{method}");
    }
}

#[tokio::test]
async fn a_package_on_disk_is_served_over_plain_http_as_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.zip");
    let (large, page) = (noise(5 << 20), text("page", 2_000_000));
    let package = Package::new().aligned("large.bin", &large).deflated("page.html", &page).stored("small.txt", "small");
    std::fs::write(&path, package.finish()).unwrap();
    let server = Server::without_site(|settings| settings.plain = true);
    let site = Site::open(&path, &PackageLimits::default()).unwrap();
    site.verify().unwrap();
    server.publish(Arc::new(site));

    let mut client = plain(&server).await;
    for (target, fields) in [
        ("/large.bin", &[][..]),
        ("/page", &["Accept-Encoding: gzip"]),
        ("/small.txt", &[]),
        ("/large.bin", &["Range: bytes=1000000-4000000"]),
        ("/page", &[]),
        ("/large.bin", &["Range: bytes=0-99999,4000000-4999999"]),
    ] {
        client.send("GET", target, fields).await;
    }
    assert!(client.response().await.content == large);
    assert!(gunzip(&client.response().await.content) == page);
    assert_eq!(client.response().await.text(), "small");
    assert!(client.response().await.content == large[1_000_000..=4_000_000]);
    assert!(client.response().await.text() == page);
    let parts = client.response().await.content;
    let holds = |part: &[u8]| memchr::memmem::find(&parts, part).is_some();
    assert!(holds(&large[..100_000]) && holds(&large[4_000_000..5_000_000]));
}

/// RFC 9110 §8.6: what GET would say.
#[tokio::test]
async fn head_says_how_long_a_file_is_also_of_an_empty_one() {
    let server = Server::start();
    for (target, length) in [("/empty.txt", "0"), ("/logo.png", "100000")] {
        for method in ["GET", "HEAD"] {
            let response = request(&server, method, target, &[]).await;
            assert_eq!((response.status, response.field("content-length")), (200, Some(length)), "{method} {target}");
            let (head, _) = h2_get(&mut h2(&server).await, h2_request(method, target)).await.unwrap();
            let said = head.headers.get("content-length").map(|length| length.to_str().unwrap());
            assert_eq!((head.status.as_u16(), said), (200, Some(length)), "{method} {target} over HTTP/2");
        }
    }
}
