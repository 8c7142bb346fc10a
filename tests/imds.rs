//! The metadata fixture answers as EC2 does.

use std::{collections::HashMap, time::Duration};

use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use world::{Account, Imds, eventually};

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

async fn ask(
    imds: &Imds,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<(u16, HashMap<String, String>, String), String> {
    let mut request = Request::builder().method(method).uri(format!("{}/latest/{path}", imds.endpoint()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let answer = client.request(request.body(Empty::<bytes::Bytes>::new()).expect("a valid request")).await;
    let (parts, body) = answer.map_err(|error| error.to_string())?.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let headers =
        parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    Ok((parts.status.as_u16(), headers.collect(), String::from_utf8_lossy(&body).into_owned()))
}

async fn token(imds: &Imds) -> String {
    ask(imds, Method::PUT, "api/token", &[(TTL, "60")]).await.expect("an answer").2
}

async fn value(imds: &Imds, path: &str) -> (u16, String) {
    let token = token(imds).await;
    let (status, _, body) = ask(imds, Method::GET, path, &[(TOKEN, &token)]).await.expect("an answer");
    (status, body)
}

async fn fixture() -> Imds {
    Imds::start(&Account::new().await, Some("198.51.100.7".parse().expect("an address"))).await
}

#[tokio::test]
async fn token_wants_a_life_between_one_second_and_six_hours() {
    let imds = fixture().await;
    let table: [(&[(&str, &str)], u16); 7] = [
        (&[(TTL, "1")], 200),
        (&[(TTL, "21600")], 200),
        (&[(TTL, "0")], 400),
        (&[(TTL, "21601")], 400),
        (&[(TTL, "soon")], 400),
        (&[], 400),
        (&[(TTL, "60"), ("x-forwarded-for", "192.0.2.1")], 403),
    ];
    for (headers, status) in table {
        let (answered, said, _) = ask(&imds, Method::PUT, "api/token", headers).await.expect("an answer");
        assert_eq!(answered, status, "{headers:?}");
        assert_eq!(said.contains_key(TTL), status == 200, "the SDK wants the life in the answer");
    }
}

#[tokio::test]
async fn metadata_wants_a_token_that_is_known_and_young() {
    let imds = fixture().await;
    let get = async |headers: &[(&str, &str)]| {
        ask(&imds, Method::GET, "meta-data/instance-id", headers).await.expect("an answer").0
    };
    assert_eq!(get(&[]).await, 401);
    assert_eq!(get(&[(TOKEN, "guessed")]).await, 401);
    let token = token(&imds).await;
    assert_eq!(get(&[(TOKEN, &token)]).await, 200);
    imds.expire_tokens();
    assert_eq!(get(&[(TOKEN, &token)]).await, 401);
    imds.limit_tokens_to(Duration::from_millis(50));
    let short = self::token(&imds).await;
    eventually("the token ends", Duration::from_secs(5), async || get(&[(TOKEN, &short)]).await == 401).await;
}

#[tokio::test]
async fn metadata_says_what_the_instance_is() {
    let imds = fixture().await;
    assert_eq!(value(&imds, "meta-data/public-ipv4").await, (200, "198.51.100.7".to_owned()));
    assert_eq!(value(&imds, "meta-data/placement/region/").await, (200, "us-east-1".to_owned()));
    assert_eq!(value(&imds, "meta-data/ipv6").await.0, 404);
    imds.set_public_ipv4(None);
    assert_eq!(value(&imds, "meta-data/public-ipv4").await.0, 404);
    let (_, identity) = value(&imds, "dynamic/instance-identity/document").await;
    let identity: serde_json::Value = serde_json::from_str(&identity).expect("JSON");
    assert_eq!(identity["instanceId"], imds.instance_id());
    assert!(identity["pendingTime"].as_str().is_some_and(|time| time.ends_with('Z')), "{identity}");
    let (_, role) = value(&imds, "meta-data/iam/security-credentials/").await;
    let (_, credentials) = value(&imds, &format!("meta-data/iam/security-credentials/{role}")).await;
    let credentials: serde_json::Value = serde_json::from_str(&credentials).expect("JSON");
    assert_eq!(credentials["Code"], "Success");
}

#[tokio::test]
async fn tags_are_there_only_where_they_are_allowed() {
    let imds = fixture().await;
    assert_eq!(value(&imds, "meta-data/tags/instance").await.0, 404);
    imds.set_tags(&[("Name", "web"), ("site", "www")]);
    assert_eq!(value(&imds, "meta-data/tags/instance").await, (200, "Name\nsite".to_owned()));
    assert_eq!(value(&imds, "meta-data/tags/instance/site").await, (200, "www".to_owned()));
    assert_eq!(value(&imds, "meta-data/tags/instance/none").await.0, 404);
}

#[tokio::test]
async fn notice_is_not_found_until_it_is_given() {
    let imds = fixture().await;
    for path in ["meta-data/spot/instance-action", "meta-data/events/recommendations/rebalance"] {
        assert_eq!(value(&imds, path).await.0, 404);
    }
    imds.announce("terminate", Duration::from_secs(120));
    imds.recommend_rebalance();
    let (_, notice) = value(&imds, "meta-data/spot/instance-action").await;
    let notice: serde_json::Value = serde_json::from_str(&notice).expect("JSON");
    assert_eq!(notice["action"], "terminate");
    assert_eq!(value(&imds, "meta-data/spot/termination-time").await.1, notice["time"].as_str().expect("a time"));
    assert_eq!(value(&imds, "meta-data/events/recommendations/rebalance").await.0, 200);
    imds.clear_notice();
    assert_eq!(value(&imds, "meta-data/spot/instance-action").await.0, 404);
}

#[tokio::test]
async fn faults_last_as_long_as_they_are_asked_for() {
    let imds = fixture().await;
    imds.answer_next(2, "instance-id", 500);
    let statuses = [value(&imds, "meta-data/instance-id").await.0, value(&imds, "meta-data/instance-id").await.0];
    assert_eq!(statuses, [500, 500]);
    assert_eq!(value(&imds, "meta-data/instance-id").await.0, 200);

    imds.reset();
    assert!(ask(&imds, Method::PUT, "api/token", &[(TTL, "60")]).await.is_err());
    imds.hang();
    let asked = ask(&imds, Method::PUT, "api/token", &[(TTL, "60")]);
    assert!(tokio::time::timeout(Duration::from_millis(300), asked).await.is_err(), "it answered");
    imds.speak();
    assert_eq!(value(&imds, "meta-data/instance-id").await.0, 200);
    imds.enable(false);
    assert_eq!(ask(&imds, Method::PUT, "api/token", &[(TTL, "60")]).await.expect("an answer").0, 403);
    assert_eq!(
        imds.log().last().map(|request| (request.path.clone(), request.status)),
        Some(("/latest/api/token".to_owned(), 403))
    );
}

#[tokio::test]
async fn cloud_init_crawls_what_there_is_and_finds_its_user_data() {
    let imds = fixture().await;
    let (status, categories) = value(&imds, "meta-data/").await;
    assert_eq!(status, 200);
    let names: Vec<_> = categories.lines().collect();
    assert!(["instance-id", "placement/", "public-ipv4"].iter().all(|name| names.contains(name)), "{categories}");
    // Whatever is listed is there.
    for name in names.iter().filter(|name| **name != "iam/") {
        assert_eq!(value(&imds, &format!("meta-data/{name}")).await.0, 200, "{name}");
    }
    assert_eq!(value(&imds, "meta-data/placement/").await.1, "availability-zone\nregion");
    assert_eq!(value(&imds, "meta-data/nothing/").await.0, 404);

    assert_eq!(value(&imds, "user-data").await.0, 404, "there is none");
    imds.set_user_data("#!/bin/bash\ntrue\n");
    assert_eq!(value(&imds, "user-data").await, (200, "#!/bin/bash\ntrue\n".to_owned()));
}
