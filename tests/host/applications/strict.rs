//! No client can hide a request in another one: each message that HTTP forbids is refused here, and the application is asked as often
//! as its answers come back (K8).

use super::{Proxied, recorder};

const LINE: &str = "POST /upload HTTP/1.1\r\nHost: localhost:8443\r\n";
/// A request in the place of content: an application that sees it has been fooled.
const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost:8443\r\n\r\n";

/// Messages, each with the statuses that come back before a last, good request's 200 where the connection goes on.
fn messages() -> Vec<(String, Vec<u16>)> {
    let inner = INNER.len();
    let refused = [
        format!("{LINE}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\nContent-Length: {inner}\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: 0\r\nContent-Length: {inner}\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: {inner}\r\nContent-Length: 0\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: {inner}\r\nContent-Length: {inner}\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: {inner}, {inner}\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: -1\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: +{inner}\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: 0x10\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length: 1 0\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length:\r\n\r\n{INNER}"),
        format!("{LINE}Content-Length : {inner}\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: identity\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE} Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}X: a\r\n folded\r\n\r\n{INNER}"),
        format!("{LINE}X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}X: a\0b\r\n\r\n{INNER}"),
        format!("{LINE}X\u{1}: a\r\n\r\n{INNER}"),
        format!("{LINE}: a\r\n\r\n{INNER}"),
        format!("{LINE}no colon\r\n\r\n{INNER}"),
        format!("{LINE}Host: elsewhere\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n3;\nx\r\nabc\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n{INNER}"),
        format!("{LINE}Transfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n{INNER}"),
        format!("POST /upload HTTP/1.0\r\nHost: localhost:8443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"),
        format!("POST /upload HTTP/1.1\nHost: localhost:8443\n\n{INNER}"),
        format!("POST  /upload HTTP/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /up load HTTP/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /upload#x HTTP/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /upload HTTP/1.2\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /upload http/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("P@ST /upload HTTP/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /%zz HTTP/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /caf%e9 HTTP/1.1\r\nHost: localhost:8443\r\n\r\n{INNER}"),
        format!("POST /upload HTTP/1.1\r\n\r\n{INNER}"),
    ];
    let mut messages: Vec<_> = refused.into_iter().map(|bytes| (bytes, vec![400])).collect();
    messages.extend([
        (format!("{LINE}Content-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
        (format!("{LINE}Content-Length: 0\r\n\r\n{INNER}"), vec![200, 200]),
        (format!("{LINE}\r\n{INNER}"), vec![200, 200]),
        (format!("{LINE}Transfer-Encoding: chunked\r\n\r\n{inner:x}\r\n{INNER}\r\n0\r\n\r\n"), vec![200]),
        (format!("{LINE}Transfer-Encoding: chunked\r\n\r\n{inner:X};a=b ; c=\"d;e\"\r\n{INNER}\r\n000\r\nX: y\r\n\r\n"), vec![200]),
        (format!("GET /content HTTP/1.1\r\nHost: localhost:8443\r\nContent-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
        (format!("{LINE}Connection: Content-Length, close\r\nContent-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
        (format!("{LINE}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAAA\r\nContent-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
        (format!("{LINE}Content_Length: 0\r\nContent-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
        (format!("{LINE}Transfer_Encoding: chunked\r\nContent-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
        (format!("{LINE}Expect: 100-continue\r\nContent-Length: {inner}\r\n\r\n{INNER}"), vec![200]),
    ]);
    messages
}

async fn every_message_through(server: &str) {
    let proxied = Proxied::start(recorder(server)).await;
    let mut asked = 0;
    for (message, expected) in messages() {
        let last = "GET /last HTTP/1.1\r\nHost: localhost:8443\r\nConnection: close\r\n\r\n";
        let answer = proxied.visitor.exchange(format!("{message}{last}").as_bytes()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{server}: {message:?}: {error}"));
        let answer = String::from_utf8_lossy(&answer);
        let statuses: Vec<u16> = answer
            .split("HTTP/1.1 ")
            .skip(1)
            .filter_map(|rest| rest.get(..3)?.parse().ok())
            .filter(|status| *status >= 200)
            .collect();
        let closes = expected == [400] || message.contains("close");
        let all: Vec<u16> = expected.iter().copied().chain((!closes).then_some(200)).collect();
        assert_eq!(statuses, all, "{server}: {message:?}: {answer}");
        let count = proxied.application.ask("/count").await.as_u64().expect("a number");
        let answered = u64::try_from(answer.matches("\"sha256\"").count()).expect("a few");
        assert_eq!(count - asked, answered, "{server} was asked more often than it answered: {message:?}: {answer}");
        asked = count;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gunicorn_is_asked_as_often_as_it_answers() {
    every_message_through("gunicorn").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uvicorn_is_asked_as_often_as_it_answers() {
    every_message_through("uvicorn").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_is_asked_as_often_as_it_answers() {
    every_message_through("node").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puma_is_asked_as_often_as_it_answers() {
    every_message_through("puma").await;
}
