//! Nothing that was accepted is lost when a server goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    client::{h2, h2_get, h2_request, plain, tls},
    package::Package,
    server::{Server, site},
};

#[tokio::test]
async fn a_lingering_server_answers_old_and_new_connections_and_asks_them_to_close() {
    let server = Server::start();
    let mut old = tls(&server).await;
    old.send("GET", "/about", &[]).await;
    assert_eq!(old.response().await.field("connection"), None);
    server.running().linger();
    old.send("GET", "/about", &[]).await;
    let last = old.response().await;
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    assert_eq!(old.rest().await, b"");
    let mut new = tls(&server).await;
    new.send("GET", "/about", &[]).await;
    let answered = new.response().await;
    assert_eq!((answered.status, answered.field("connection")), (200, Some("close")));
}

#[tokio::test]
async fn a_lingering_server_sends_goaway_and_answers_new_http2_connections() {
    let server = Server::start();
    let mut old = h2(&server).await;
    assert_eq!(h2_get(&mut old, h2_request("GET", "/about")).await.unwrap().0.status, 200);
    server.running().linger();
    let gone = tokio::time::timeout(Duration::from_secs(5), async {
        while old.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(gone.await.is_ok(), "GOAWAY closes the old connection");
    let mut new = h2(&server).await;
    assert_eq!(h2_get(&mut new, h2_request("GET", "/about")).await.unwrap().0.status, 200);
}

#[tokio::test]
async fn connections_that_wait_in_the_queue_are_answered() {
    let server = Server::start();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(plain(&server).await);
    }
    let drained = tokio::spawn(server.drain(0, 10_000));
    for mut client in waiting {
        client.send("GET", "/", &[]).await;
        assert_eq!(client.response().await.status, 308);
    }
    assert_eq!(drained.await.unwrap().requests_cut, 0);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_a_drain() {
    let server = Server::start();
    let mut idle = tls(&server).await;
    idle.send("GET", "/about", &[]).await;
    assert_eq!(idle.response().await.status, 200);
    let mut idle2 = h2(&server).await;
    assert_eq!(h2_get(&mut idle2, h2_request("GET", "/about")).await.unwrap().0.status, 200);
    let begun = Instant::now();
    assert_eq!(server.drain(100, 30_000).await.requests_cut, 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(idle.rest().await, b"");
}

#[tokio::test]
async fn a_response_under_way_is_finished_and_one_that_never_is_gets_cut() {
    let package = Package::new().stored("big.bin", vec![7; 64 << 20]).finish();
    let server = Server::with(package.clone(), |_| {});
    let mut slow = tls(&server).await;
    slow.send("GET", "/big.bin", &[]).await;
    assert!(slow.begins().await);
    let drained = tokio::spawn(server.drain(0, 20_000));
    let response = slow.response().await;
    assert_eq!((response.status, response.content.len()), (200, 64 << 20));
    assert_eq!(drained.await.unwrap().requests_cut, 0);

    let server = Server::with(package, |_| {});
    let mut stuck = tls(&server).await;
    stuck.send("GET", "/big.bin", &[]).await;
    assert!(stuck.begins().await);
    assert_eq!(server.drain(0, 500).await.requests_cut, 1);
}

#[tokio::test]
async fn a_drain_under_load_loses_no_request() {
    let server = Server::start();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let server = Arc::new(server);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (server, stop, answered) = (server.clone(), stop.clone(), answered.clone());
        clients.spawn(async move {
            while !stop.load(Relaxed) {
                let mut client = tls(&server).await;
                for _ in 0..20 {
                    client.send("GET", if number % 2 == 0 { "/" } else { "/logo.png" }, &[]).await;
                    let response = client.response().await;
                    assert_eq!(response.status, 200);
                    answered.fetch_add(1, Relaxed);
                    if response.field("connection") == Some("close") {
                        break;
                    }
                }
            }
        });
    }
    while answered.load(Relaxed) < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.running().linger();
    let before = answered.load(Relaxed);
    while answered.load(Relaxed) < before + 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Clients stop asking, as they do once the name leads elsewhere; what they asked is answered.
    stop.store(true, Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let server = Arc::into_inner(server).unwrap();
    assert_eq!(server.drain(0, 10_000).await.requests_cut, 0);
}

#[tokio::test]
async fn a_request_under_way_keeps_the_site_it_began_with() {
    let version = |byte: u8| Package::new().stored("big.bin", vec![byte; 32 << 20]).finish();
    let server = Server::with(version(1), |_| {});
    let mut old = tls(&server).await;
    old.send("GET", "/big.bin", &[]).await;
    assert!(old.begins().await);
    server.publish(site(version(2)));
    let mut new = tls(&server).await;
    new.send("GET", "/big.bin", &[]).await;
    assert!(new.response().await.content.iter().all(|byte| *byte == 2));
    assert!(old.response().await.content.iter().all(|byte| *byte == 1));
    old.send("GET", "/big.bin", &[]).await;
    assert!(old.response().await.content.iter().all(|byte| *byte == 2), "the connection goes on with the new one");
}

#[tokio::test]
async fn a_hundred_swaps_under_load_fail_no_request_and_mix_no_page() {
    let version = |byte: u8| site(Package::new().deflated("page.html", vec![byte; 300_000]).finish());
    let versions = [version(b'a'), version(b'b')];
    let server = Arc::new(Server::with(Package::new().deflated("page.html", vec![b'a'; 300_000]).finish(), |_| {}));
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (server, stop, answered) = (server.clone(), stop.clone(), answered.clone());
        clients.spawn(async move {
            let mut sender = h2(&server).await;
            let mut client = tls(&server).await;
            while !stop.load(Relaxed) {
                let content = if number % 2 == 0 {
                    client.send("GET", "/page", &[]).await;
                    client.response().await.content
                } else {
                    h2_get(&mut sender, h2_request("GET", "/page")).await.unwrap().1.to_vec()
                };
                assert!(
                    content.len() == 300_000 && content.iter().all(|byte| *byte == content[0]),
                    "a page is of one version"
                );
                answered.fetch_add(1, Relaxed);
            }
        });
    }
    for swap in 0..100 {
        server.publish(versions[swap % 2].clone());
        let before = answered.load(Relaxed);
        while answered.load(Relaxed) < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let counters = server.running().counters();
    assert_eq!(
        (counters.responses(2), counters.accepted()),
        (counters.requests(), 12),
        "no failure, no new connection"
    );
}
