//! Slow clients are cut, each in its own way, and others do not notice.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    client::{Client, get, h2, h2_get, h2_request, handshake, plain, tls},
    package::Package,
    server::Server,
};

/// The real limits are seconds; these tell as much.
fn impatient() -> Server {
    Server::with(
        Package::new().stored("big.bin", vec![7; 64 << 20]).deflated("about.html", "about").finish(),
        |settings| {
            let patience = &mut settings.patience;
            patience.handshake = Duration::from_millis(300);
            patience.first = Duration::from_millis(400);
            patience.head = Duration::from_millis(500);
            patience.idle = Duration::from_millis(700);
            patience.write = Duration::from_millis(900);
            patience.close = Duration::from_millis(200);
        },
    )
}

/// Asserts that the server closes the connection about then.
async fn ends_after<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: Client<S>,
    begun: Instant,
    millis: u64,
) {
    client.rest().await;
    let (took, limit) = (begun.elapsed(), Duration::from_millis(millis));
    assert!(took + Duration::from_millis(50) >= limit, "after {took:?} already, not {limit:?}");
    assert!(took < limit + Duration::from_secs(3), "only after {took:?}, not {limit:?}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut() {
    let server = impatient();
    let begun = Instant::now();
    ends_after(plain(&server).await, begun, 400).await;
    let begun = Instant::now();
    let silent = Client::of(TcpStream::connect(server.https).await.unwrap());
    ends_after(silent, begun, 300).await;
    let begun = Instant::now();
    ends_after(tls(&server).await, begun, 400).await;
    let begun = Instant::now();
    let silent = Client::of(handshake(server.https, &server.certificate, &[b"h2"]).await.unwrap());
    ends_after(silent, begun, 400).await;
    assert_eq!(server.running().counters().cut(), 4);
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut() {
    let server = impatient();
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.https).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    ends_after(Client::of(stream), begun, 300).await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut() {
    let server = impatient();
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    for byte in b"GET / HTTP/1.1\r\nX: 123456789012345678901234567890" {
        if stream.write_all(&[*byte]).await.is_err() || begun.elapsed() > Duration::from_secs(5) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn an_idle_connection_is_cut() {
    let server = impatient();
    let mut client = tls(&server).await;
    client.send("GET", "/about", &[]).await;
    assert_eq!(client.response().await.status, 200);
    ends_after(client, Instant::now(), 700).await;
    let mut sender = h2(&server).await;
    assert_eq!(h2_get(&mut sender, h2_request("GET", "/about")).await.unwrap().0.status, 200);
    let begun = Instant::now();
    while sender.ready().await.is_ok() && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_others_are_served() {
    let server = impatient();
    let (mut one, mut two) = (tls(&server).await, h2(&server).await);
    one.send("GET", "/big.bin", &[]).await;
    let response = two.send_request(h2_request("GET", "/big.bin")).await.unwrap();
    let counters = server.running().counters();
    let begun = Instant::now();
    while counters.cut() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{counters:?}");
        let probe = Instant::now();
        assert_eq!(get(&server, "/about", &[]).await.status, 200);
        assert!(probe.elapsed() < Duration::from_millis(500));
    }
    drop(response);
}

#[tokio::test]
async fn a_client_that_sends_content_slowly_is_answered_at_once_and_let_go() {
    let server = impatient();
    let mut client = tls(&server).await;
    let begun = Instant::now();
    client.send("POST", "/about", &["Content-Length: 1000000"]).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("connection")), (405, Some("close")));
    ends_after(client, begun, 0).await;
}

#[tokio::test]
async fn a_client_that_keeps_its_small_content_is_answered_and_let_go() {
    let server = impatient();
    for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = tls(&server).await;
        client.send("POST", "/about", &[field]).await;
        let begun = Instant::now();
        let response = client.response().await;
        assert_eq!((response.status, response.field("connection")), (405, Some("close")));
        ends_after(client, begun, 200).await;
    }
}

/// What the kernel holds for a reader that stops is bounded too: its send buffers would grow to megabytes each.
#[tokio::test]
async fn little_waits_for_a_reader_that_stops() {
    for from_file in [false, true] {
        let big = vec![7; 64 << 20];
        let package = Package::new();
        let package = if from_file { package.aligned("big.bin", big) } else { package.stored("big.bin", big) };
        let server = Server::with(package.finish(), |settings| {
            settings.plain = true;
            settings.patience.write = Duration::from_millis(900);
        });
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let mut client = Client::of(socket.connect(server.http).await.unwrap());
        client.send("GET", "/big.bin", &[]).await;
        let begun = Instant::now();
        while server.running().counters().cut() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "never cut");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let waited = client.rest().await.len();
        assert!(waited < 768 * 1024, "{waited} bytes waited");
    }
}
