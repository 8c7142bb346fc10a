//! What HTTP forbids is refused, and the connection closed, so that nothing behind it is taken for a request.

use std::time::{Duration, Instant};

use spothost_server::{Access, AccessFormat, AccessTo};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    client::{Client, get, h2, h2_get, h2_request, h2_with_room, plain, tls, tls_from_elsewhere},
    package::Package,
    server::Server,
};

/// Sends `bytes` and a second request behind them; returns the statuses of all responses until the server closes.
async fn statuses(server: &Server, bytes: &str) -> Vec<u16> {
    let mut client = tls(server).await;
    let second = "GET /about HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
    client.write(format!("{bytes}{second}").as_bytes()).await;
    let mut statuses = Vec::new();
    while let Some(response) = client.try_response("GET").await {
        statuses.push(response.status);
    }
    statuses
}

#[tokio::test]
async fn what_could_smuggle_a_request_is_refused_and_the_connection_closed() {
    let server = Server::start();
    let line = "GET / HTTP/1.1\r\nHost: www.example.org\r\n";
    for bytes in [
        format!("{line}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
        format!("{line}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        format!("{line}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{line}Content-Length: 3, 3\r\n\r\nabc"),
        format!("{line}Content-Length: -1\r\n\r\n"),
        format!("{line}Transfer-Encoding: identity\r\n\r\n"),
        format!("{line}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}X: a\r\n folded\r\n\r\n"),
        format!("{line}X: a\nY: b\r\n\r\n"),
        format!("{line}X: a\0b\r\n\r\n"),
        format!("{line}X\u{1}: a\r\n\r\n"),
        "GET / HTTP/1.1\nHost: www.example.org\n\n".into(),
        "GET  / HTTP/1.1\r\nHost: www.example.org\r\n\r\n".into(),
        "GET / HTTP/1.2\r\nHost: www.example.org\r\n\r\n".into(),
        "GET / http/1.1\r\nHost: www.example.org\r\n\r\n".into(),
        "GET /a b HTTP/1.1\r\nHost: www.example.org\r\n\r\n".into(),
        "GET /a#b HTTP/1.1\r\nHost: www.example.org\r\n\r\n".into(),
        "GET /a HTTP/1.0\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "G@T / HTTP/1.1\r\nHost: www.example.org\r\n\r\n".into(),
        "\u{16}\u{3}\u{1}\u{2}".into(),
    ] {
        assert_eq!(statuses(&server, &bytes).await, [400], "{bytes:?}");
    }
}

#[tokio::test]
async fn content_is_never_taken_for_a_request() {
    let server = Server::start();
    let inner = "GET /nothing HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
    for (bytes, expected) in [
        (
            format!("GET / HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()),
            &[200, 200][..],
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
                inner.len()
            ),
            &[405, 200],
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\n\r\n1;{inner}\r\n0\r\n\r\n"
            ),
            &[400],
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: www.example.org\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n{inner}"
            ),
            &[200],
        ),
    ] {
        assert_eq!(statuses(&server, &bytes).await, expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_connection_goes_on_behind_content_that_is_small() {
    let server = Server::start();
    let post = |fields: &str, content: &str| {
        format!("POST /about HTTP/1.1\r\nHost: www.example.org\r\n{fields}\r\n\r\n{content}")
    };
    let of = |length: usize| post(&format!("Content-Length: {length}"), &"x".repeat(length));
    let chunk = |length: usize| format!("{length:X}\r\n{}\r\n", "x".repeat(length));
    let chunked = |chunks: &str| post("Transfer-Encoding: chunked", chunks);
    for (what, bytes, expected) in [
        ("a little", of(3), &[405, 200][..]),
        ("64 KiB", of(65_536), &[405, 200]),
        ("more", of(65_537), &[405]),
        ("twice", of(3) + &of(5), &[405, 405, 200]),
        ("after a page", format!("GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n{}", of(3)), &[200, 405, 200]),
        ("no chunk", chunked("0\r\n\r\n"), &[405, 200]),
        ("two chunks", chunked(&format!("{}{}000\r\n\r\n", chunk(1), chunk(5_000))), &[405, 200]),
        ("extensions", chunked("3;a=b ; c = \"d;e\"\r\nabc\r\n0 ;f\r\n\r\n"), &[405, 200]),
        ("an extension with a line feed", chunked("3;\nx\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("an extension with NUL", chunked("3;\0\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("trailers", chunked("3\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n"), &[405, 200]),
        ("many trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(101))), &[400]),
        ("chunks of 64 KiB", chunked(&format!("{}0\r\n\r\n", chunk(32_768).repeat(2))), &[405, 200]),
        ("more chunks", chunked(&format!("{}0\r\n\r\n", chunk(32_768).repeat(3))), &[405]),
        ("a huge chunk", chunked("fffffffffffffff\r\nabc"), &[405]),
        ("a chunk that no number holds", chunked("10000000000000000\r\nabc"), &[400]),
        ("one that is asked for", post("Content-Length: 3\r\nExpect: 100-continue", "abc"), &[405]),
        ("another expectation", post("Content-Length: 3\r\nExpect: 200-ok", "abc"), &[405]),
        (
            "HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: www.example.org\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc".into(),
            &[405, 200],
        ),
        (
            "HTTP/1.0 without a word",
            "POST / HTTP/1.0\r\nHost: www.example.org\r\nContent-Length: 3\r\n\r\nabc".into(),
            &[405],
        ),
    ] {
        assert_eq!(statuses(&server, &bytes).await, expected, "{what}");
    }
}

/// However it is cut, and even if the connection would rest meanwhile.
#[tokio::test]
async fn content_that_comes_late_is_waited_for() {
    let server = Server::with(Package::example(), |settings| settings.patience.rest = Duration::from_millis(1));
    let mut client = tls(&server).await;
    client.send("GET", "/about", &[]).await;
    assert_eq!(client.response().await.status, 200);
    for (field, pieces) in [
        ("Content-Length: 5", &["ab", "cde"][..]),
        ("Transfer-Encoding: chunked", &["5", "\r\nab", "cde\r\n0\r", "\n", "\r", "\n"]),
    ] {
        client.send("POST", "/about", &[field]).await;
        for piece in pieces {
            assert!(client.silent_for(Duration::from_millis(30)).await, "the content is not here yet");
            client.write(piece.as_bytes()).await;
        }
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (405, None), "{field}");
    }
    client.send("GET", "/about", &[]).await;
    assert_eq!(client.response().await.status, 200);
}

/// Nothing that comes behind a fault is read as a part of content, or as a request.
#[tokio::test]
async fn content_that_breaks_the_rules_is_the_last_that_is_read() {
    let server = Server::start();
    for broken in ["3;\n", "3;a\0", "3\n", "3\r\nabc\n", "0\r\nX\n", "0\r\nX: y\n", "0\r\n\n"] {
        let mut client = tls(&server).await;
        client.send("POST", "/about", &["Transfer-Encoding: chunked"]).await;
        client.write(broken.as_bytes()).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (400, Some("close")), "{broken:?}");
        client.send("GET", "/about", &[]).await;
        assert_eq!(client.rest().await, b"", "{broken:?}");
    }
}

/// The meaning of its next bytes is unknown (RFC 9112 §9.3).
#[tokio::test]
async fn a_bad_host_or_target_ends_the_connection_and_a_stream_alone() {
    let server = Server::start();
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "GET / HTTP/1.1\r\nHost: a@www.example.org\r\n",
        "GET / HTTP/1.1\r\nHost: www.example.org\r\nHost: www.example.org\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: www.example.org\r\n",
        "GET www.example.org HTTP/1.1\r\nHost: www.example.org\r\n",
        "GET * HTTP/1.1\r\nHost: www.example.org\r\n",
        "GET /%zz HTTP/1.1\r\nHost: www.example.org\r\n",
        "GET /../x HTTP/1.1\r\nHost: www.example.org\r\n",
    ] {
        assert_eq!(statuses(&server, &format!("{head}\r\n")).await, [400], "{head:?}");
    }
    let mut sender = h2(&server).await;
    for (target, status) in [("/../x", 400), ("/about", 200), ("/%zz", 400), ("/about", 200)] {
        assert_eq!(h2_get(&mut sender, h2_request("GET", target)).await.unwrap().0.status, status, "{target}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::start();
    let mut client = tls(&server).await;
    let targets = ["/", "/about", "/nothing", "/docs/", "/logo.png"];
    let requests: String =
        targets.iter().map(|target| format!("GET {target} HTTP/1.1\r\nHost: www.example.org\r\n\r\n")).collect();
    // However the bytes are cut.
    let (first, second) = requests.split_at(requests.len() / 2 + 3);
    client.write(first.as_bytes()).await;
    client.write(second.as_bytes()).await;
    for status in [200, 200, 404, 200, 200] {
        assert_eq!(client.response().await.status, status);
    }
}

#[tokio::test]
async fn a_client_that_closed_its_side_gets_its_answer() {
    let server = Server::start();
    let mut client = plain(&server).await;
    client.send("GET", "/", &[]).await;
    client.half_close().await;
    assert_eq!(client.response().await.status, 308);
    let mut client = tls(&server).await;
    client.send("GET", "/big.bin", &[]).await;
    client.half_close().await;
    assert_eq!(client.response().await.content.len(), 1 << 20);
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_and_cookies_are_not() {
    let server = Server::start();
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let line = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: www.example.org\r\n{fields}\r\n");
    for (what, bytes, expected) in [
        ("an 8 KB cookie", line("/", &format!("Cookie: {}\r\n", "c".repeat(8192))), &[200, 200][..]),
        ("99 fields", line("/", &fields(99)), &[200, 200]),
        ("101 fields", line("/", &fields(101)), &[431]),
        ("a 40 KB field", line("/", &format!("X: {}\r\n", "x".repeat(40_000))), &[431]),
        ("8 KB of fields in 4 KB pieces", line("/", &format!("X: {0}\r\nY: {0}\r\n", "x".repeat(4000))), &[200, 200]),
        ("a long target", line(&format!("/{}", "a".repeat(9000)), ""), &[414]),
        ("a very long target", line(&format!("/{}", "a".repeat(100_000)), ""), &[414]),
        ("a target that fits", line(&format!("/{}", "a".repeat(8000)), ""), &[404, 200]),
    ] {
        assert_eq!(statuses(&server, &bytes).await, expected, "{what}");
    }
}

#[tokio::test]
async fn the_newest_connection_is_refused_at_the_bound_and_others_are_served() {
    let server = Server::with(Package::example(), |settings| settings.bounds.connections_per_address = 3);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = tls(&server).await;
        client.send("GET", "/about", &[]).await;
        assert_eq!(client.response().await.status, 200);
        held.push(client);
    }
    let mut refused = plain(&server).await;
    assert!(!refused.silent_for(std::time::Duration::from_secs(5)).await, "it is closed at once");
    held[0].send("GET", "/about", &[]).await;
    assert_eq!(held[0].response().await.status, 200);
    assert_eq!(server.running().counters().turned_away(), 1);
}

#[tokio::test]
async fn a_request_before_a_refused_one_is_answered_as_ever() {
    let server = Server::start();
    let first = "GET /about HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
    for (second, status) in [
        ("POST / HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 99999\r\n\r\nabc".to_owned(), 405),
        (format!("GET /{} HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "a".repeat(9000)), 414),
        ("GET / HTTP/1.1\r\nHost : www.example.org\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(statuses(&server, &format!("{first}{second}")).await, [200, status], "{second:?}");
    }
    // What hyper answers by itself is counted once its connection has ended.
    let counters = server.running().counters();
    let counted = async {
        while counters.responses(4) < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), counted).await.expect("three responses are counted");
    assert_eq!((counters.responses(2), counters.responses(4)), (3, 3));
}

/// Two clients who have a large file inflated, and do not read what comes.
async fn two_that_read_nothing(server: &Server) -> Vec<Client<TlsStream<TcpStream>>> {
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = tls(server).await;
        client.send("GET", "/zeros.bin", &["Accept-Encoding: identity"]).await;
        assert!(client.begins().await);
        slow.push(client);
    }
    slow
}

#[tokio::test]
async fn whoever_has_much_inflated_and_reads_nothing_leaves_the_rest_to_others() {
    let package = Package::new().deflated("zeros.bin", vec![0; 64 << 20]).finish();
    let server = Server::with(package, |settings| {
        (settings.bounds.inflated, settings.bounds.inflated_per_address) = (3, 2);
    });
    let _slow = two_that_read_nothing(&server).await;
    assert_eq!(get(&server, "/zeros.bin", &["Accept-Encoding: identity"]).await.status, 503);
    let mut other = tls_from_elsewhere(&server).await;
    other.send("GET", "/zeros.bin", &["Accept-Encoding: identity", "Range: bytes=0-9"]).await;
    assert_eq!(other.response().await.status, 206);
}

/// Inflating costs memory that sending a stream as it lies does not: who asks for that cannot have all of it.
#[tokio::test]
async fn the_newest_inflated_response_is_refused_at_the_bound_and_coded_ones_are_served() {
    let package = Package::new().deflated("zeros.bin", vec![0; 32 << 20]).deflated("small.txt", "small").finish();
    let server = Server::with(package, |settings| settings.bounds.inflated = 2);
    let slow = two_that_read_nothing(&server).await;
    let refused = get(&server, "/zeros.bin", &["Accept-Encoding: identity"]).await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("5")));
    assert_eq!(get(&server, "/zeros.bin", &["Accept-Encoding: gzip"]).await.status, 200);
    assert_eq!(get(&server, "/small.txt", &["Accept-Encoding: identity"]).await.text(), "small");
    let begun = Instant::now();
    let served = loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "a client that takes nothing keeps others out");
        let served = get(&server, "/zeros.bin", &["Accept-Encoding: identity", "Range: bytes=0-9"]).await;
        if served.status != 503 {
            break served;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((served.status, &served.content[..]), (206, &[0; 10][..]));
    assert_eq!(server.running().counters().cut(), 0, "they are still there");
    for mut slow in slow {
        let whole = slow.response().await;
        assert_eq!((whole.status, whole.content == vec![0; 32 << 20]), (200, true), "and go on where they were");
    }
}

/// As many streams of two clients as there are places, of a file that must be inflated, with no room for any of it or with room
/// for a byte at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_room_keep_nobody_from_anything() {
    let package = Package::new().deflated("zeros.bin", vec![0; 8 << 20]).deflated("small.txt", "small").finish();
    for room in [0, 1] {
        let server = Server::with(package.clone(), |settings| {
            (settings.bounds.inflated, settings.bounds.inflated_per_address) = (8, 6);
        });
        let mut streams = Vec::new();
        for (from, many) in [("127.0.0.2", 6), ("127.0.0.3", 2)] {
            let mut stingy = h2_with_room(&server, from, room).await;
            for _ in 0..many {
                let mut request = h2_request("GET", "/zeros.bin");
                request.headers_mut().insert("accept-encoding", http::HeaderValue::from_static("identity"));
                let answer = stingy.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                streams.push((stingy.clone(), answer));
            }
        }
        for _ in 0..3 {
            let large = get(&server, "/zeros.bin", &["Accept-Encoding: identity"]).await;
            assert_eq!((large.status, large.content.len()), (200, 8 << 20), "room for {room}");
            let small = get(&server, "/small.txt", &["Accept-Encoding: identity"]).await;
            assert_eq!((small.status, small.text()), (200, "small".to_owned()), "room for {room}");
        }
        assert_eq!((server.running().counters().responses(5), streams.len()), (0, 8));
    }
}

#[tokio::test]
async fn http2_requests_with_too_many_fields_are_refused() {
    let server = Server::start();
    let mut sender = h2(&server).await;
    for (count, status) in [(90, 200), (101, 431)] {
        let mut request = h2_request("GET", "/about");
        for number in 0..count {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            request.headers_mut().insert(name, http::HeaderValue::from_static("y"));
        }
        assert_eq!(h2_get(&mut sender, request).await.unwrap().0.status, status, "{count} fields");
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_has_its_access_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let to = AccessTo::File(path.clone());
    let server = Server::with(Package::example(), |settings| {
        settings.plain = true;
        settings.access = Some(Access { format: AccessFormat::Combined, to });
    });
    for bytes in ["GET /about HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"] {
        assert_eq!(statuses(&server, bytes).await, [400]);
    }
    let many = (0..101).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    assert_eq!(statuses(&server, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await, [431]);
    server.drain(0, 10_000).await;
    let log = std::fs::read_to_string(path).unwrap();
    let mut told: Vec<_> = log.lines().filter_map(|line| line.split_once("] ")).map(|(_, told)| told).collect();
    // Each connection is another thread's, and writes its line when that comes to it.
    told.sort_unstable();
    let line = |status| format!("\"- - HTTP/1.1\" {status} 0 \"-\" \"-\"");
    assert_eq!(told, [line(400), line(400), line(431)]);
}
