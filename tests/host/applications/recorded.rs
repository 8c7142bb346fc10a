//! Each request reaches the application as its client sent it: method, target, repeated fields with their order and octets, content;
//! without fields that only a proxy may set (P1, P12), and with those that this one sets (P13).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Proxied, plain, recorder};

/// Requests drawn for each server and protocol; `SPOTHOST_REQUESTS` asks for more.
const DRAWN: usize = 250;
/// Methods with and without content.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"];
/// Fields that pass.
const PASSING: [&str; 10] = [
    "x-a",
    "x-b",
    "accept",
    "accept-language",
    "authorization",
    "if-none-match",
    "origin",
    "range",
    "referer",
    "user-agent",
];
/// Fields of a proxy, which an application would believe (P12).
const FORGED: [&str; 26] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "front-end-https",
    "path-info",
    "proxy",
    "remote-user",
    "script-name",
    "x-accel-mapping",
    "x-accel-redirect",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-ssl",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-sendfile-type",
    "x-url-scheme",
    "remote_user",
    "x_forwarded_for",
    "x.forwarded.for",
];
/// Fields that the proxy sets, and those of the framing.
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "transfer-encoding",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];
/// Octets of a path and of a query beyond letters and digits (RFC 3986 §3.3, §3.4); a query's may also be octets that clients leave as they are.
const OF_A_PATH: &[u8] = b"-._~!$&'()*+,;=:@";
const OF_A_QUERY: &[u8] = b"-._~!$&'()*+,;=:@/?[]";

/// What was sent.
struct Sent {
    request: Request<Bytes>,
    fields: Vec<(String, String)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_sees_what_its_clients_send_and_nothing_that_they_forge() {
    let seed =
        std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let many = std::env::var("SPOTHOST_REQUESTS").ok().and_then(|many| many.parse().ok()).unwrap_or(DRAWN);
    println!("SPOTHOST_SEED={seed} SPOTHOST_REQUESTS={many}");
    let mut random = fastrand::Rng::with_seed(seed);
    for server in ["uvicorn", "node"] {
        let proxied = Proxied::start(recorder(server)).await;
        for h2 in [false, true] {
            let sent: Vec<_> = (0..many).map(|_| drawn(&mut random, h2)).collect();
            let mut talk = proxied.visitor.talk(h2);
            for sent in &sent {
                let answer = talk.send(sent.request.clone()).await;
                let context = format!("SPOTHOST_SEED={seed} {server}, HTTP/2 {h2}: {:?}", sent.request);
                let answer = answer.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(answer.status, 200, "{context}: {answer:?}");
                compare(sent, &serde_json::from_slice(&answer.body).expect("JSON"), h2, &context);
            }
        }
        assert_eq!(proxied.application.ask("/count").await, 2 * many, "each was sent once");
    }
}

/// Compares a request with how the application saw it.
fn compare(sent: &Sent, seen: &Value, h2: bool, context: &str) {
    let request = &sent.request;
    assert_eq!(seen["method"], request.method().as_str(), "{context}: {seen}");
    assert_eq!(seen["target"], request.uri().to_string(), "{context}: {seen}");
    assert_eq!(seen["length"], request.body().len(), "{context}: {seen}");
    assert_eq!(seen["sha256"], hex(&Sha256::digest(request.body())), "{context}");
    let mut had: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in seen["fields"].as_array().expect("a list") {
        let text = |at: usize| field[at].as_str().expect("text").to_owned();
        had.entry(text(0).to_ascii_lowercase()).or_default().push(text(1));
    }
    let one = |name: &str| match had.get(name).map(Vec::as_slice) {
        Some([value]) => value.as_str(),
        other => panic!("{context}: {name} is {other:?}"),
    };
    assert_eq!(one("host"), "localhost:8443", "{context}");
    assert_eq!(one("x-forwarded-host"), "localhost:8443", "{context}");
    assert_eq!(one("x-forwarded-for"), "127.0.0.1", "{context}");
    assert_eq!(one("x-real-ip"), "127.0.0.1", "{context}");
    assert_eq!(one("x-forwarded-proto"), "https", "{context}");
    assert_eq!(one("via"), if h2 { "2 spothost" } else { "1.1 spothost" }, "{context}");
    assert!(one("forwarded").contains("127.0.0.1") && one("forwarded").contains("proto=https"), "{context}: {seen}");
    assert!(one("x-request-id").len() >= 16, "{context}: {seen}");
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &sent.fields {
        expected.entry(name.clone()).or_default().push(value.clone());
    }
    if let Some(crumbs) = expected.get_mut("cookie").filter(|_| h2) {
        *crumbs = vec![crumbs.join("; ")];
    }
    had.retain(|name, _| !OURS.contains(&name.as_str()));
    assert_eq!(had, expected, "{context}");
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn drawn(random: &mut fastrand::Rng, h2: bool) -> Sent {
    let method = Method::from_bytes(METHODS[random.usize(..METHODS.len())].as_bytes()).expect("a token");
    let content = match method.as_str() {
        "POST" | "PUT" | "PATCH" | "REPORT" => {
            // Above 64 KiB it no longer stays in memory.
            let most = if random.u8(..) < 16 { 200_000 } else { 2_000 };
            let length = random.usize(..most);
            std::iter::repeat_with(|| random.u8(..)).take(length).collect()
        }
        _ => Vec::new(),
    };
    let mut target = String::from("/drawn");
    for _ in 0..random.usize(..4) {
        target.push('/');
        target.push_str(&text(random, OF_A_PATH, 1));
    }
    if random.bool() {
        target.push('?');
        target.push_str(&text(random, OF_A_QUERY, 1));
    }
    let mut request = Request::builder().method(method).uri(&target).body(Bytes::from(content)).expect(&target);
    let mut fields = Vec::new();
    let mut hops = BTreeSet::new();
    for _ in 0..random.usize(..12) {
        let name = match random.u8(..4) {
            0 => FORGED[random.usize(..FORGED.len())],
            1 if h2 => "cookie",
            1 if !h2 && hops.len() < 3 => {
                hops.insert(["x-hop", "x-other-hop", "keep-alive"][random.usize(..3)]);
                continue;
            }
            _ => PASSING[random.usize(..PASSING.len())],
        };
        let value = value(random, name);
        let octets = HeaderValue::from_bytes(&value).expect("visible octets, obs-text and spaces");
        request.headers_mut().append(HeaderName::from_static(name), octets);
        if !FORGED.contains(&name) {
            fields.push((name.to_owned(), value.iter().map(|octet| char::from(*octet)).collect()));
        }
    }
    // Fields that Connection names are for this hop alone (P1).
    for hop in &hops {
        request.headers_mut().append(HeaderName::from_static(hop), HeaderValue::from_static("1"));
        request.headers_mut().append("connection", HeaderValue::from_static(hop));
    }
    Sent { request, fields }
}

/// A few characters, each a letter, one of `more`, or an octet in percent-encoding that stands for itself alone.
fn text(random: &mut fastrand::Rng, more: &[u8], least: usize) -> String {
    let mut text = String::new();
    for _ in 0..random.usize(least..12) {
        match random.u8(..8) {
            0 => text.push(char::from(more[random.usize(..more.len())])),
            1 => text.push_str(["%20", "%41", "%c3%a9", "%3f", "%23"][random.usize(..5)]),
            _ => text.push(random.alphanumeric()),
        }
    }
    // Segments of dots alone are another path's.
    if text.bytes().all(|octet| octet == b'.') { format!("a{text}") } else { text }
}

/// A field's value: without spaces at its ends, which are none of it (RFC 9110 §5.5).
fn value(random: &mut fastrand::Rng, name: &str) -> Vec<u8> {
    if name == "cookie" {
        return format!("{}={}", random.alphanumeric(), random.u32(..)).into_bytes();
    }
    let length = random.usize(..40);
    let octet = |_| match random.u8(..10) {
        0 => b' ',
        1 => b'\t',
        2 => random.u8(0x80..),
        _ => random.u8(0x21..0x7F),
    };
    let value: Vec<u8> = (0..length).map(octet).collect();
    value.trim_ascii().to_vec()
}

/// What HTTP/1.0 and a GET with content come to, over servers that join repeated fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_first_and_whatever_is_no_get_goes_to_the_application() {
    for server in ["gunicorn", "granian", "puma"] {
        let proxied = Proxied::start(recorder(server)).await;
        let visitor = &proxied.visitor;
        for h2 in [false, true] {
            let about = visitor.send(plain(Method::GET, "/about"), h2).await.expect("an answer");
            assert_eq!((about.status.as_u16(), about.text().as_str()), (200, "from the file"), "{server}");
        }
        assert_eq!(proxied.application.ask("/count").await, 0, "{server}: files alone were asked for");
        for (method, path) in [(Method::POST, "/about"), (Method::GET, "/nothing"), (Method::DELETE, "/")] {
            let answer = visitor.send(plain(method.clone(), path), true).await.expect("an answer");
            let seen: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(
                (&seen["method"], &seen["target"]),
                (&method.as_str().into(), &path.into()),
                "{server}: {answer:?}"
            );
        }
        assert_eq!(proxied.application.ask("/count").await, 3, "{server}");
    }
}
