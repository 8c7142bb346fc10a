//! A load balancer in front of the server, and one that only says that it is.

use std::{fs, time::Duration};

use spothost_server::{Access, AccessFormat, AccessTo, Settings};
use tokio::io::AsyncWriteExt;

use crate::{
    application::{App, says},
    client::{h2, h2_get, plain, request, tls, tls_from_elsewhere},
    frames::{END_HEADERS, END_STREAM, HEADERS, connect, frame, literal, next, status},
    package::Package,
    server::Server,
};

/// A server in front of which a load balancer at 127.0.0.1 is trusted, and one at 127.0.0.2 is not.
fn behind(app: &App, adjust: impl FnOnce(&mut Settings)) -> Server {
    let package = Package::new().stored("index.html", "front").finish();
    let application = app.behind();
    Server::with(package, |settings| {
        application(settings);
        settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        adjust(settings);
    })
}

/// An application that says for whom it was asked.
fn echo() -> App {
    App::start(|asked, stream| {
        let said = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host"];
        says(stream, &said.map(|name| asked.all(name).join("+")).join(" "))
    })
}

#[tokio::test]
async fn the_application_and_the_access_log_are_told_the_visitor_of_a_trusted_proxy() {
    let (app, folder) = (echo(), tempfile::tempdir().unwrap());
    let path = folder.path().join("access.log");
    let server = behind(&app, |settings| {
        settings.access = Some(Access { format: AccessFormat::Combined, to: AccessTo::File(path.clone()) });
    });
    let fields =
        ["X-Forwarded-For: 198.51.100.7, 203.0.113.9", "X-Forwarded-Proto: http", "Forwarded: for=198.51.100.1"];
    let told = request(&server, "GET", "/x", &fields).await;
    assert_eq!(told.status, 308, "the visitor has not asked over TLS");
    let fields = ["X-Forwarded-For: 198.51.100.7, 203.0.113.9", "X-Forwarded-Proto: https"];
    let told = request(&server, "GET", "/x", &fields).await;
    assert_eq!(told.text(), "203.0.113.9 https www.example.org www.example.org");
    let mut stranger = tls_from_elsewhere(&server).await;
    stranger.send("GET", "/x", &fields).await;
    assert_eq!(stranger.response().await.text(), "127.0.0.2 https www.example.org www.example.org");
    let silent = request(&server, "GET", "/x", &[]).await;
    assert_eq!(silent.text(), "127.0.0.1 https www.example.org www.example.org");
    // Over plain HTTP, behind the load balancer's own TLS.
    let mut balancer = plain(&server).await;
    for _ in 0..2 {
        balancer
            .write(
                b"GET /x HTTP/1.1\r\nHost: 10.0.0.7\r\nX-Forwarded-Host: www.example.org\r\nX-Forwarded-For: 203.0.113.8\r\n\
                  X-Forwarded-Proto: https\r\n\r\n",
            )
            .await;
        assert_eq!(balancer.response().await.text(), "203.0.113.8 https www.example.org www.example.org");
    }
    balancer.write(b"GET / HTTP/1.1\r\nHost: www.example.org\r\nForwarded: for=203.0.113.8;proto=https\r\n\r\n").await;
    assert_eq!(balancer.response().await.text(), "front");
    balancer.write(b"GET / HTTP/1.1\r\nHost: www.example.org\r\nX-Forwarded-For: 203.0.113.8\r\n\r\n").await;
    assert_eq!(balancer.response().await.status, 308);
    let mut sender = h2(&server).await;
    let mut asked = crate::client::h2_request("GET", "/x");
    asked.headers_mut().insert("x-forwarded-for", "2001:db8::9".parse().unwrap());
    let (_, text) = h2_get(&mut sender, asked).await.unwrap();
    assert_eq!(text, "2001:db8::9 https www.example.org www.example.org");
    drop((balancer, stranger, sender));
    server.drain(0, 1_000).await;
    let lines = fs::read_to_string(&path).unwrap();
    let addresses: Vec<_> = lines.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let expected = [
        "203.0.113.9",
        "203.0.113.9",
        "127.0.0.2",
        "127.0.0.1",
        "203.0.113.8",
        "203.0.113.8",
        "203.0.113.8",
        "203.0.113.8",
        "2001:db8::9",
    ];
    assert_eq!(addresses, expected, "{lines}");
}

#[tokio::test]
async fn what_one_address_may_cost_is_the_visitors_and_not_the_proxys() {
    let (told, tell) = std::sync::mpsc::channel::<()>();
    let tell = std::sync::Mutex::new(tell);
    let app = App::start(move |_, stream| {
        // Until the test lets one go.
        let _ = tell.lock().unwrap().recv_timeout(Duration::from_secs(30));
        says(stream, "app")
    });
    let server = behind(&app, |settings| settings.bounds.connections_per_address = 2);
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut other = tls(&server).await;
        other.send("GET", "/", &[]).await;
        assert_eq!(other.response().await.text(), "front", "all connections of the proxy are served");
        others.push(other);
    }
    let mut stream = connect(&server).await;
    let get = |visitor: &str| {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "www.example.org"),
            (":path", "/x"),
            ("x-forwarded-for", visitor),
        ];
        fields.map(|(name, value)| literal(name, value)).concat()
    };
    for (id, visitor) in [(1, "203.0.113.1"), (3, "203.0.113.1"), (5, "203.0.113.2"), (7, "203.0.113.1")] {
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &get(visitor))).await.unwrap();
    }
    let mut answers = Vec::new();
    while answers.len() < 4 {
        let frame_read = next(&mut stream).await;
        if frame_read.kind == HEADERS {
            answers.push((frame_read.stream, status(&frame_read)));
            if answers.len() == 1 {
                (0..3).for_each(|_| told.send(()).unwrap());
            }
        }
    }
    assert_eq!(answers.remove(0), (7, 503), "the third of one visitor");
    answers.sort_unstable();
    assert_eq!(answers, [(1, 200), (3, 200), (5, 200)]);
}
