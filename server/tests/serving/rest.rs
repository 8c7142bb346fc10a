//! A connection that waits for its next request gives its buffers back, and loses nothing else.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    client::{Client, plain, tls},
    package::Package,
    server::Server,
};

fn soon_resting() -> Server {
    Server::with(Package::example(), |settings| {
        settings.plain = true;
        settings.patience.rest = Duration::from_millis(20);
        settings.patience.idle = Duration::from_millis(1_500);
        settings.bounds.connections_per_address = 1;
    })
}

/// Waits until so many connections rest.
async fn rests(server: &Server, count: u64) {
    counts(server, || server.running().counters().resting() == count).await;
}

/// Waits until the server counts what is wanted: a client may see that its connection has ended before that is counted.
async fn counts(server: &Server, wanted: impl Fn() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", server.running().counters());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    client.send("GET", "/about", &[]).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("connection")), (200, None));
}

#[tokio::test]
async fn a_connection_that_rested_answers_the_next_request() {
    let server = soon_resting();
    let mut client = plain(&server).await;
    for _ in 0..3 {
        ask(&mut client).await;
        rests(&server, 1).await;
    }
    drop(client);
    rests(&server, 0).await;
    let mut client = tls(&server).await;
    for _ in 0..3 {
        ask(&mut client).await;
        rests(&server, 1).await;
    }
    let counters = server.running().counters();
    assert_eq!((counters.requests(), counters.accepted(), counters.cut()), (6, 2, 0));
}

#[tokio::test]
async fn a_connection_that_rests_keeps_its_place_and_its_deadline() {
    let server = soon_resting();
    let mut client = tls(&server).await;
    ask(&mut client).await;
    let begun = Instant::now();
    rests(&server, 1).await;
    assert_eq!(plain(&server).await.rest().await, b"", "there is no place for a second one");
    assert_eq!(server.running().counters().turned_away(), 1);
    assert_eq!(client.rest().await, b"");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_400) && took < Duration::from_secs(5), "{took:?}");
    counts(&server, || server.running().counters().open() == 0).await;
    assert_eq!((server.running().counters().cut(), server.running().counters().resting()), (1, 0));
    ask(&mut plain(&server).await).await;
}

#[tokio::test]
async fn what_is_known_of_the_bytes_survives_a_rest() {
    let server = soon_resting();
    let mut client = plain(&server).await;
    // An empty line after a request is no request (RFC 9112 §2.2), and half of one neither.
    client.write(b"GET /about HTTP/1.1\r\nHost: www.example.org\r\n\r\n\r\n\r").await;
    assert_eq!(client.response().await.status, 200);
    rests(&server, 1).await;
    client.write(b"\nGET /about HTTP/1.1\r\nHost: www.example.org\r\n\r\nGET").await;
    assert_eq!(client.response().await.status, 200);
    // Half a head is no rest.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.running().counters().resting(), 0);
    client.write(b" / HTTP/1.1\r\nHost: www.example.org\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    rests(&server, 1).await;
    // The number of a request says which one announced content.
    client.send("POST", "/about", &["Content-Length: 3"]).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("connection")), (405, Some("close")));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_client_that_is_done_while_its_connection_rests_is_let_go() {
    let server = soon_resting();
    let mut client = tls(&server).await;
    ask(&mut client).await;
    rests(&server, 1).await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"");
    rests(&server, 0).await;
    assert_eq!(server.running().counters().cut(), 0);
}

#[tokio::test]
async fn a_drain_closes_connections_that_rest_and_answers_what_they_ask_before() {
    let server = soon_resting();
    let mut client = tls(&server).await;
    ask(&mut client).await;
    rests(&server, 1).await;
    server.running().linger();
    client.send("GET", "/about", &[]).await;
    let last = client.response().await;
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    assert_eq!(client.rest().await, b"");
    let server = soon_resting();
    let mut client = plain(&server).await;
    ask(&mut client).await;
    rests(&server, 1).await;
    let begun = Instant::now();
    assert_eq!(server.drain(0, 30_000).await.requests_cut, 0);
    assert_eq!(client.rest().await, b"");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
