//! A site answers from its package alone: whatever is asked of it, it asks no other server, and least of all the metadata service
//! that has the keys of its host.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use world::{Instance, Site};

use crate::{SOON, serving};

/// Paths that only a forger asks for.
const LOOT: &str = "/latest/meta-data/iam/loot";

/// Sends a request to the plain port as it stands; the answer.
async fn sent(instance: &Instance, request: &str) -> String {
    let mut stream = TcpStream::connect(instance.http()).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_name_the_metadata_service_reach_nobody() {
    // The endpoint of this test's metadata service is not known before its instance is there, so the addresses that
    // it has on EC2 stand for it in the package, and both in the requests.
    let redirects = format!(
        "/fetch http://169.254.169.254{LOOT} 200\n/go http://169.254.169.254{LOOT} 302\n/proxy/* http://169.254.169.254/:splat 200!\n"
    );
    let site = Site::titled("forged").with("_redirects", redirects);
    let (instance, visitor, agent) = serving(&site).await;
    let imds = instance.imds.endpoint().replace("http://", "");
    for metadata in [imds.as_str(), "169.254.169.254", "[fd00:ec2::254]"] {
        let url = format!("http://{metadata}{LOOT}");
        let domain = instance.account.domain();
        for request in [
            format!("GET {LOOT} HTTP/1.1\r\nHost: {metadata}\r\nConnection: close\r\n\r\n"),
            format!("GET {url} HTTP/1.1\r\nHost: {metadata}\r\nConnection: close\r\n\r\n"),
            format!("GET {url} HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n"),
            format!("GET {url} HTTP/1.0\r\n\r\n"),
            format!("CONNECT {metadata}:80 HTTP/1.1\r\nHost: {metadata}\r\nConnection: close\r\n\r\n"),
            format!(
                "PUT {url} HTTP/1.1\r\nHost: {domain}\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET {LOOT} HTTP/1.1\r\nHost: {domain}\r\nX-Forwarded-Host: {metadata}\r\nForwarded: host={metadata}\r\nConnection: close\r\n\r\n"
            ),
        ] {
            let answer = sent(&instance, &request).await;
            assert!(!answer.contains("AccessKeyId") && !answer.starts_with("HTTP/1.1 200"), "{request}{answer}");
        }
        let absolute = format!("/{url}");
        let headers = [("x-forwarded-host", metadata), ("x-original-url", LOOT)];
        for path in ["/fetch", "/go", "/proxy/latest/meta-data/iam/loot", absolute.as_str(), LOOT] {
            for h2 in [false, true] {
                let answer = visitor.ask(http::Method::GET, path, &headers, h2).await.expect("an answer");
                assert!(!answer.text().contains("AccessKeyId"), "{path}: {answer:?}");
            }
        }
        let foreign = visitor.asking_for("169.254.169.254").get(LOOT).await;
        assert!(foreign.map_or(true, |answer| answer.status.is_client_error()));
    }
    let asked = instance.imds.log();
    let forged: Vec<_> = asked.iter().filter(|request| request.path.contains("loot")).collect();
    assert!(!asked.is_empty() && forged.is_empty(), "{forged:?}");
    assert_eq!(agent.stop().await, Some(0));
}
