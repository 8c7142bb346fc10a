//! TLS, HTTP/2 and HTTP/1.1: which is spoken, and how certificates change.

use std::sync::Arc;

use spothost_server::Identity;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, HandshakeKind, ProtocolVersion, version},
};

use crate::{
    client::{Client, get, h2, h2_get, h2_request, handshake, plain_at, request, tls, trusting},
    frames::PREFACE,
    package::{noise, text},
    server::{DOMAIN, Server, identity},
};

/// Every response is the same over HTTP/2, field by field; only the time may have moved on.
#[tokio::test]
async fn http2_serves_the_same_responses() {
    let server = Server::start();
    let mut sender = h2(&server).await;
    let tag = get(&server, "/logo.png", &[]).await.field("etag").unwrap().to_owned();
    let cases = [
        ("GET", "/", vec![("accept-encoding", "gzip")]),
        ("GET", "/", vec![("accept-encoding", "identity")]),
        ("GET", "/logo.png", vec![("accept-encoding", "gzip")]),
        ("GET", "/big.bin", vec![]),
        ("GET", "/about", vec![("accept-encoding", "br")]),
        ("GET", "/style.css", vec![("accept-encoding", "br")]),
        ("GET", "/app.3f9c1a.js", vec![]),
        ("GET", "/empty.txt", vec![]),
        ("GET", "/missing", vec![]),
        ("GET", "/docs/missing", vec![("accept-encoding", "gzip")]),
        ("GET", "/docs?a=b", vec![]),
        ("GET", "/../x", vec![]),
        ("GET", "/big.bin", vec![("range", "bytes=10-19")]),
        ("GET", "/big.bin", vec![("range", "bytes=10-19,40-49")]),
        ("GET", "/big.bin", vec![("range", "bytes=9999999-")]),
        ("GET", "/logo.png", vec![("if-none-match", &tag)]),
        ("GET", "/logo.png", vec![("if-match", "\"other\"")]),
        ("HEAD", "/logo.png", vec![]),
        ("HEAD", "/empty.txt", vec![]),
        ("HEAD", "/missing", vec![]),
        ("OPTIONS", "/", vec![]),
        ("POST", "/", vec![]),
        ("DELETE", "/logo.png", vec![]),
    ];
    for (method, target, fields) in cases {
        let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let expected = request(&server, method, target, &lines).await;
        let mut request = h2_request(method, target);
        for (name, value) in fields {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (head, content) = h2_get(&mut sender, request).await.unwrap();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let mut fields: Vec<_> = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        fields.sort();
        let (mut expected_fields, said) = (expected.fields(), format!("{method} {target} {lines:?}"));
        for fields in [&mut fields, &mut expected_fields] {
            let date = fields.iter_mut().find(|(name, _)| name == "date").expect("a date");
            httpdate::parse_http_date(&std::mem::take(&mut date.1)).expect("a date as HTTP has it");
        }
        assert_eq!((head.status.as_u16(), fields), (expected.status, expected_fields), "{said}");
        assert!(content == expected.content, "{said}");
    }
}

#[tokio::test]
async fn many_streams_of_one_connection_are_answered_at_once() {
    let server = Server::start();
    let sender = h2(&server).await;
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..200 {
        let mut sender = sender.clone();
        streams.spawn(async move {
            let target = if number % 2 == 0 { "/" } else { "/big.bin" };
            h2_get(&mut sender, h2_request("GET", target)).await.unwrap().1
        });
    }
    let (page, big) = (text("home", 22_000), noise(1 << 20));
    let mut seen = 0;
    while let Some(content) = streams.join_next().await {
        let content = content.unwrap();
        assert!(content == page.as_bytes() || content == big);
        seen += 1;
    }
    assert_eq!(seen, 200);
}

#[tokio::test]
async fn the_protocol_follows_from_alpn() {
    let server = Server::start();
    for (offered, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = handshake(server.https, &server.certificate, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
    }
    assert!(handshake(server.https, &server.certificate, &[b"spdy/1"]).await.is_err());
    // The preface of HTTP/2 on a connection that chose HTTP/1.1 is a bad request.
    let mut client = tls(&server).await;
    client.write(PREFACE).await;
    assert_eq!(client.response().await.status, 400);
}

/// Makes a request on a new connection; returns how TLS began.
async fn begins(server: &Server, config: &Arc<ClientConfig>) -> (Option<ProtocolVersion>, Option<HandshakeKind>) {
    let stream = TcpStream::connect(server.https).await.unwrap();
    let connector = TlsConnector::from(config.clone());
    let stream = connector.connect(DOMAIN.try_into().unwrap(), stream).await.unwrap();
    let session = stream.get_ref().1;
    let begun = (session.protocol_version(), session.handshake_kind());
    let mut client = Client::of(stream);
    // Tickets come with the response (RFC 8446 §4.6.1).
    client.send("GET", "/about", &[]).await;
    assert_eq!(client.response().await.status, 200);
    begun
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_tickets_are_good_at_all_threads() {
    let server = Server::start();
    for (speaks, version) in [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let config = Arc::new(trusting(&server.certificate, &[speaks]));
        assert_eq!(begins(&server, &config).await, (Some(version), Some(HandshakeKind::Full)));
        for _ in 0..8 {
            assert_eq!(begins(&server, &config).await, (Some(version), Some(HandshakeKind::Resumed)));
        }
    }
    // Another server has other keys for its tickets, and asks for a full handshake.
    let config = Arc::new(trusting(&server.certificate, &[&version::TLS13]));
    begins(&server, &config).await;
    let other = Server::start();
    other.identity.send_replace(server.identity.borrow().clone());
    assert_eq!(begins(&other, &config).await.1, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn nothing_below_tls_1_2_is_spoken() {
    let server = Server::start();
    for minor in [0, 1, 2] {
        let hello = [&[3, minor][..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]].concat();
        let length = hello.len() as u8;
        let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let mut client = plain_at(server.https).await;
        client.write(&record).await;
        // A fatal alert and nothing else (RFC 8446 §6.2).
        let said = client.rest().await;
        assert_eq!((said[0], said[5], said.len()), (21, 2, 7), "3.{minor}: {said:?}");
    }
}

#[tokio::test]
async fn the_certificate_is_swapped_without_touching_connections() {
    let server = Server::start();
    let mut old = tls(&server).await;
    let (chain, key) = identity();
    server.identity.send_replace(Some(Arc::new(Identity::from_pem(&chain, &key).unwrap())));
    assert!(handshake(server.https, &chain, &[]).await.is_ok());
    assert!(handshake(server.https, &server.certificate, &[]).await.is_err());
    old.send("GET", "/about", &[]).await;
    assert_eq!(old.response().await.status, 200);
}

#[tokio::test]
async fn without_an_identity_the_handshake_is_refused_with_an_alert() {
    let server = Server::start();
    server.identity.send_replace(None);
    let error = handshake(server.https, &server.certificate, &[]).await.unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
}

#[tokio::test]
async fn counters_count_what_was_served() {
    let server = Server::start();
    let counters = server.running().counters();
    let mut client = tls(&server).await;
    for (target, status) in [("/", 200), ("/nothing", 404), ("/about", 200)] {
        client.send("GET", target, &[]).await;
        assert_eq!(client.response().await.status, status);
    }
    assert_eq!((counters.responses(2), counters.responses(4), counters.requests()), (2, 1, 3));
    assert_eq!((counters.open(), counters.in_flight()), (1, 0));
    assert!(counters.sent() > 22_000);
    drop(client);
    let closed = async {
        while counters.open() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.expect("the connection is closed");
}
