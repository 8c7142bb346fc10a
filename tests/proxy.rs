//! The proxies pass on, record, and go wrong as they are told.

use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use serde_json::json;
use world::{Account, AcmeProxy, Fault, FaultProxy, Kind, Rule, Service, Visitor};

use crate::signed::{change, change_records, element, object, secrets, send};

struct Scene {
    account: Account,
    proxy: FaultProxy,
}

impl Scene {
    async fn new() -> Scene {
        Scene { account: Account::new().await, proxy: FaultProxy::start().await }
    }

    fn at(&self) -> std::net::SocketAddr {
        self.proxy.endpoint().trim_start_matches("http://").parse().expect("an address")
    }

    async fn put(&self, body: &'static str) -> (StatusCode, String) {
        object(self.at(), &self.account, Method::PUT, "www/k", &[], body).await
    }

    async fn try_get(&self) -> Result<(StatusCode, String), String> {
        let request = Request::builder().uri(format!("/{}/www/k", self.account.bucket));
        send(self.at(), &self.account, "s3", request, "").await
    }
}

#[tokio::test]
async fn calls_are_recognised_and_recorded() {
    let scene = Scene::new().await;
    let (at, account) = (scene.at(), &scene.account);
    scene.put("hello").await;
    assert_eq!(scene.try_get().await.expect("an answer"), (StatusCode::OK, "hello".to_owned()));
    object(at, account, Method::HEAD, "www/k", &[], "").await;
    object(at, account, Method::GET, "?list-type=2&prefix=www%2F", &[], "").await;
    change_records(at, account, &[change("UPSERT", &account.domain(), "A", &["192.0.2.1"])]).await;
    secrets(at, account, "CreateSecret", &json!({ "Name": "v", "SecretString": "one" })).await;
    secrets(at, account, "GetSecretValue", &json!({ "SecretId": "v" })).await;

    let calls: Vec<_> =
        scene.proxy.calls().into_iter().map(|call| (call.service, call.operation, call.kind, call.status)).collect();
    let expected = [
        (Service::S3, "PutObject", Kind::Write),
        (Service::S3, "GetObject", Kind::Read),
        (Service::S3, "HeadObject", Kind::Read),
        (Service::S3, "ListObjectsV2", Kind::Read),
        (Service::Route53, "ChangeResourceRecordSets", Kind::Write),
        (Service::SecretsManager, "CreateSecret", Kind::Write),
        (Service::SecretsManager, "GetSecretValue", Kind::Read),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(service, name, kind)| (service, name.to_owned(), kind, Some(200))).collect();
    assert_eq!(calls, expected);
    assert_eq!(scene.proxy.writes().len(), 3);
}

#[tokio::test]
async fn refusal_has_the_shape_of_its_service() {
    let scene = Scene::new().await;
    let (at, account) = (scene.at(), &scene.account);
    scene.proxy.add(Rule::new(Fault::refuse_for(503, "SlowDown", 7)).of(Service::S3).times(1));
    scene.proxy.add(Rule::new(Fault::refuse(400, "Throttling")).on("ChangeResourceRecordSets"));
    scene.proxy.add(Rule::new(Fault::denied()).of(Service::SecretsManager));

    let (status, body) = scene.put("hello").await;
    assert_eq!((status.as_u16(), element(&body, "Code").as_str()), (503, "SlowDown"));
    assert_eq!(scene.put("hello").await.0, StatusCode::OK, "the rule was for one call");
    let (status, body) = change_records(at, account, &[change("UPSERT", &account.domain(), "A", &["192.0.2.1"])]).await;
    assert_eq!((status.as_u16(), element(&body, "Code").as_str()), (400, "Throttling"));
    assert!(account.records().await.is_empty(), "it was passed on");
    let (status, body) = secrets(at, account, "GetSecretValue", &json!({ "SecretId": "v" })).await;
    assert_eq!((status.as_u16(), &body["__type"]), (403, &json!("AccessDenied")));

    scene.proxy.lift();
    assert_eq!(
        change_records(at, account, &[change("UPSERT", &account.domain(), "A", &["192.0.2.1"])]).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn body_breaks_off_where_it_is_cut() {
    let scene = Scene::new().await;
    scene.put("hello").await;
    scene.proxy.add(Rule::new(Fault::Cut(2)).on("GetObject").about("www/k").times(1));
    assert!(scene.try_get().await.is_err());
    assert_eq!(scene.try_get().await.expect("an answer").1, "hello");
}

#[tokio::test]
async fn bit_of_a_body_is_flipped() {
    let scene = Scene::new().await;
    scene.put("hello").await;
    scene.proxy.add(Rule::new(Fault::Flip(4)).on("GetObject"));
    assert_eq!(scene.try_get().await.expect("an answer").1, "helln");
}

#[tokio::test]
async fn lost_answer_is_of_a_change_that_was_made() {
    let scene = Scene::new().await;
    scene.proxy.add(Rule::new(Fault::LoseAnswer).on("PutObject").times(1));
    let request = Request::builder().method(Method::PUT).uri(format!("/{}/www/k", scene.account.bucket));
    assert!(send(scene.at(), &scene.account, "s3", request, "hello").await.is_err());
    assert_eq!(scene.try_get().await.expect("an answer").1, "hello");
    assert_eq!(scene.proxy.calls()[0].status, None);
}

#[tokio::test]
async fn reset_is_of_a_call_that_was_not_made() {
    let scene = Scene::new().await;
    scene.proxy.add(Rule::new(Fault::Reset).on("PutObject").times(1));
    let request = Request::builder().method(Method::PUT).uri(format!("/{}/www/k", scene.account.bucket));
    assert!(send(scene.at(), &scene.account, "s3", request, "hello").await.is_err());
    // To a caller that may not list there, S3 hides what is not there.
    assert_eq!(scene.try_get().await.expect("an answer").0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_call_takes_longer_by_the_delay() {
    let scene = Scene::new().await;
    scene.proxy.delay(Duration::from_millis(80));
    let begun = Instant::now();
    scene.put("hello").await;
    assert!(begun.elapsed() >= Duration::from_millis(80));
    let call = &scene.proxy.calls()[0];
    assert!(call.ended - call.started >= Duration::from_millis(80));
}

#[tokio::test]
async fn ca_is_reached_through_its_proxy_alone() {
    let proxy = AcmeProxy::start().await;
    let address: std::net::SocketAddr =
        proxy.directory().split('/').nth(2).expect("an address").parse().expect("an address");
    let client = Visitor::new("localhost", address, &proxy.roots());
    let directory: serde_json::Value =
        serde_json::from_slice(&client.get("/dir").await.expect("an answer").body).expect("JSON");
    let order = directory["newOrder"].as_str().expect("a URL");
    assert!(
        order.starts_with(&format!("https://localhost:{}/", address.port())),
        "URLs follow the Host that was asked for: {order}"
    );

    proxy.add(Rule::new(Fault::refuse_for(429, "rateLimited", 3)).on("directory").times(1));
    let refused = client.get("/dir").await.expect("an answer");
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "3"));
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).expect("JSON");
    assert_eq!(problem["type"], "urn:ietf:params:acme:error:rateLimited");
    assert_eq!(proxy.accepted("directory"), 1);
}
