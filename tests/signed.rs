//! Requests as an SDK would send them, but for the signature, which moto does not check.

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use world::Account;

/// Status and body of an answer.
pub(crate) type Reply = (StatusCode, String);

/// Sends a request of `account` to a service at `address`; an error is one of the connection.
pub(crate) async fn send(
    address: SocketAddr,
    account: &Account,
    service: &str,
    request: http::request::Builder,
    body: impl Into<bytes::Bytes>,
) -> Result<Reply, String> {
    let scope = format!("{}/20260101/us-east-1/{service}/aws4_request", account.access_key);
    let line = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
    let request = request.header("authorization", line).header("x-amz-security-token", &account.session_token);
    let mut request: Request<Full<bytes::Bytes>> = request.body(Full::new(body.into())).expect("a valid request");
    let path = request.uri().to_string();
    *request.uri_mut() = format!("http://{address}{path}").parse().expect("a valid URI");
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let answer = client.request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// One change of a batch, as ChangeResourceRecordSets takes it.
pub(crate) fn change(action: &str, name: &str, kind: &str, values: &[&str]) -> String {
    let values: String =
        values.iter().map(|value| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>")).collect();
    format!(
        "<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>60</TTL>\
         <ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>"
    )
}

/// Sends a change batch.
pub(crate) async fn change_records(address: SocketAddr, account: &Account, changes: &[String]) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\"?><ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <ChangeBatch><Changes>{}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>",
        changes.concat()
    );
    let request = Request::builder().method(Method::POST).uri(format!("/2013-04-01/hostedzone/{}/rrset", account.zone));
    send(address, account, "route53", request, body).await.expect("an answer")
}

/// Asks how a change stands.
pub(crate) async fn change_status(address: SocketAddr, account: &Account, id: &str) -> Reply {
    let request = Request::builder().uri(format!("/2013-04-01{id}"));
    send(address, account, "route53", request, "").await.expect("an answer")
}

/// The text of the first element of that name.
pub(crate) fn element(xml: &str, name: &str) -> String {
    let start = xml.split(&format!("<{name}>")).nth(1);
    start.and_then(|rest| rest.split(&format!("</{name}>")).next()).unwrap_or_default().to_owned()
}

/// Calls an operation of Secrets Manager.
pub(crate) async fn secrets(
    address: SocketAddr,
    account: &Account,
    operation: &str,
    input: &Value,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("secretsmanager.{operation}"));
    let (status, body) = send(address, account, "secretsmanager", request, input.to_string()).await.expect("an answer");
    (status, serde_json::from_str(&body).unwrap_or_else(|_| json!(body)))
}

/// Sends a request for an object of the account's bucket.
pub(crate) async fn object(
    address: SocketAddr,
    account: &Account,
    method: Method,
    key: &str,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(format!("/{}/{key}", account.bucket));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(address, account, "s3", request, body).await.expect("an answer")
}
