//! Which names are served, and where requests for others are sent.

use crate::{
    client::{get, plain, tls},
    server::Server,
};

#[tokio::test]
async fn plain_http_is_sent_to_https_with_path_and_query() {
    let server = Server::start();
    let mut client = plain(&server).await;
    let port = server.https.port();
    for (target, host, location) in [
        ("/a%20b?c=d", "www.example.org", "/a%20b?c=d"),
        ("/", "example.org", "/"),
        ("//evil.example/", "www.example.org:80", "//evil.example/"),
    ] {
        client.send("GET", target, &[&format!("Host: {host}")]).await;
        let response = client.response().await;
        let expected = format!("https://www.example.org:{port}{location}");
        assert_eq!((response.status, response.field("location")), (308, Some(&expected[..])));
    }
}

#[tokio::test]
async fn an_alias_is_sent_to_the_domain() {
    let server = Server::start();
    let response = get(&server, "/about?x", &["Host: example.org"]).await;
    let expected = format!("https://www.example.org:{}/about?x", server.https.port());
    assert_eq!((response.status, response.field("location")), (308, Some(&expected[..])));
}

#[tokio::test]
async fn an_unknown_name_is_misdirected_and_an_invalid_one_bad() {
    let server = Server::start();
    for (host, status) in [
        ("Host: other.example", 421),
        ("Host: 169.254.169.254", 421),
        ("Host:", 400),
        ("Host: a b", 400),
        ("Host: www.example.org\r\nHost: www.example.org", 400),
    ] {
        assert_eq!(get(&server, "/", &[host]).await.status, status, "{host}");
        let mut client = plain(&server).await;
        client.send("GET", "/", &[host]).await;
        assert_eq!(client.response().await.status, status, "{host} on port 80");
    }
    let mut client = tls(&server).await;
    client.write(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
}

#[tokio::test]
async fn without_a_site_both_ports_ask_for_patience() {
    let server = Server::without_site(|_| {});
    let mut clients = plain(&server).await;
    clients.send("GET", "/", &[]).await;
    for response in [clients.response().await, get(&server, "/", &[]).await] {
        assert_eq!((response.status, response.field("retry-after")), (503, Some("5")));
    }
    server.publish(crate::server::site(crate::package::Package::example()));
    assert_eq!(get(&server, "/", &[]).await.status, 200);
    clients.send("GET", "/", &[]).await;
    assert_eq!(clients.response().await.status, 308);
}

#[tokio::test]
async fn strict_transport_security_is_sent_over_tls_only_when_asked_for() {
    let quiet = Server::start();
    assert_eq!(get(&quiet, "/", &[]).await.field("strict-transport-security"), None);
    let hour = std::time::Duration::from_secs(3600);
    let server = Server::with(crate::package::Package::example(), |settings| settings.hsts = Some(hour));
    assert_eq!(get(&server, "/", &[]).await.field("strict-transport-security"), Some("max-age=3600"));
    let mut client = plain(&server).await;
    client.send("GET", "/", &[]).await;
    assert_eq!(client.response().await.field("strict-transport-security"), None);
}
