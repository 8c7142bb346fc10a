//! WebSockets of real clients and servers.

use serde_json::{Value, json};
use world::{Command, eventually, tools};

use super::{
    Proxied,
    browser::browse,
    clients::{express, fastapi},
};
use crate::SOON;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_carry_every_message_in_its_order() {
    let websocketd = Command::new("", "websocketd --address=127.0.0.1 --port=8000 --binary=true cat");
    for (command, greetings) in [(fastapi(), 1), (express(), 0)] {
        let proxied = Proxied::start(command).await;
        let seen = websocket(&proxied, "/api/socket", greetings).await;
        let same = seen["same"].as_array().expect("a list");
        assert!(same.len() == 15 && same.iter().all(|same| *same == true), "{seen}");
        assert_eq!(seen["code"], 1000, "{seen}");
        if greetings == 1 {
            assert_eq!(seen["greetings"], json!(["wss from 127.0.0.1"]));
        }
    }
    let proxied = Proxied::start(websocketd).await;
    let page = proxied.curl(&["--write-out", "%{http_code}"], "/nothing").await;
    assert!(
        String::from_utf8_lossy(&page.stdout).ends_with("404"),
        "an answer of websocketd without an upgrade: {page:?}"
    );
}

/// What the client of `websockets` tells of its talk.
async fn websocket(proxied: &Proxied, path: &str, greetings: u8) -> Value {
    let mut client = tokio::process::Command::new(tools::tool("apps/bin/python"));
    client.arg(tools::repository().join("tests/applications/websocket.py"));
    client.args([&format!("wss://localhost:{}{path}", proxied.laptop.https.port()), &proxied.address(), &proxied.ca]);
    let talk = client.arg(greetings.to_string()).kill_on_drop(true).output();
    let output = tokio::time::timeout(SOON, talk).await.expect("the talk ends in time").expect("Python");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), proxied.application.log());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Echoes of a text and of octets, and how the WebSocket was closed.
const ECHOES: &str = "new Promise((done, failed) => {
    const seen = [];
    const socket = new WebSocket('wss://localhost:8443/api/socket');
    socket.binaryType = 'arraybuffer';
    socket.onerror = () => failed(new Error('the WebSocket failed'));
    socket.onopen = () => { socket.send('hello'); socket.send(new Uint8Array(100000)); };
    socket.onmessage = event => {
        seen.push(event.data.byteLength ?? event.data);
        if (seen.length === 2) socket.close(1000);
    };
    socket.onclose = event => done([...seen, event.code]);
})";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_speaks_over_a_websocket() {
    let proxied = Proxied::start(express()).await;
    let gave = browse(&proxied, json!([{"open": "https://localhost:8443/"}, {"run": ECHOES}])).await;
    assert_eq!(gave, [json!("h2"), json!(["hello", 100_000, 1000])]);
}

/// Frames and messages of RFC 6455, good and bad, come to the same as without a proxy, octet for octet, over HTTP/1.1 and HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_comes_to_the_same_as_without_the_proxy() {
    let echo = Command::new("", "python echo.py 127.0.0.1 8000");
    for command in [echo, express()] {
        let proxied = Proxied::start(command).await;
        let direct = proxied.application.url().replace("http://", "");
        let mut comparison = tokio::process::Command::new(tools::tool("python/bin/python"));
        comparison.arg(tools::repository().join("tests/applications/frames.py"));
        comparison.args([direct.as_str(), &proxied.address(), &proxied.ca, "/api/socket"]).kill_on_drop(true);
        let output =
            tokio::time::timeout(4 * SOON, comparison.output()).await.expect("it ends in time").expect("Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let compared: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(compared["differing"], json!([]), "{direct}");
        assert!(compared["cases"].as_u64().is_some_and(|cases| cases >= 150), "{compared}");
    }
}

/// A host that ends says so to both sides (RFC 6455 §7.4.1: 1001, going away), and does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_closed_in_good_order_when_the_program_ends() {
    let Proxied { application, laptop: _laptop, agent, visitor, .. } = Proxied::start(fastapi()).await;
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
    let key = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==";
    let opening = format!("GET /api/socket HTTP/1.1\r\nHost: localhost:8443\r\n{fields}\r\n{key}\r\n\r\n");
    let socket = tokio::spawn(async move { visitor.exchange(opening.as_bytes()).await });
    eventually("the WebSocket is open", SOON, async || application.log().contains("[accepted]")).await;
    assert_eq!(agent.stop().await, Some(0));
    let seen = socket.await.expect("no panic").expect("the connection ends");
    assert!(seen.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&seen));
    assert!(seen.ends_with(&[0x88, 2, 0x03, 0xE9]), "{:?}", String::from_utf8_lossy(&seen));
    eventually("the application knows", SOON, async || application.log().contains("closed with 1001")).await;
}
