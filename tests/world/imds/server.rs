//! What the service answers.

use std::{
    collections::BTreeSet,
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{ImdsRequest, Server, Silence, State};
use crate::connection::{Handler, Outcome};

/// The longest life of a token, in seconds.
const LONGEST_TTL: u64 = 21_600;

impl Handler for Server {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Outcome {
        let (delay, silence) = {
            let state = self.state();
            (state.delay, state.silence)
        };
        tokio::time::sleep(delay).await;
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let answer = match silence {
            None => Some(self.answer(&request, &path)),
            Some(_) => None,
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        let method = request.method().to_string();
        self.state().log.push(ImdsRequest { at: Instant::now(), method, path, status });
        match (answer, silence) {
            (Some(answer), _) => Outcome::Answer(answer),
            (None, Some(Silence::Reset)) => Outcome::Reset,
            (None, _) => Outcome::Hang,
        }
    }
}

impl Server {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    fn answer(&self, request: &Request<Incoming>, path: &str) -> Response<Bytes> {
        if let Some(status) = self.next_status(path) {
            return page(status);
        }
        if !self.state().enabled {
            return page(StatusCode::FORBIDDEN);
        }
        if path == "/latest/api/token" {
            return self.token(request);
        }
        if request.method() != Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !self.knows(request) {
            return page(StatusCode::UNAUTHORIZED);
        }
        let known = VERSIONS.iter().find_map(|version| path.strip_prefix(version));
        let answer = known.and_then(|below| self.value(below).or_else(|| self.listing(below)));
        answer.unwrap_or_else(|| page(StatusCode::NOT_FOUND))
    }

    fn next_status(&self, path: &str) -> Option<StatusCode> {
        let mut state = self.state();
        let found = state.statuses.iter().position(|(part, times, _)| *times > 0 && path.contains(part.as_str()))?;
        let (_, times, status) = &mut state.statuses[found];
        *times -= 1;
        StatusCode::from_u16(*status).ok()
    }

    fn token(&self, request: &Request<Incoming>) -> Response<Bytes> {
        if request.method() != Method::PUT {
            return page(StatusCode::METHOD_NOT_ALLOWED);
        }
        if request.headers().contains_key("x-forwarded-for") {
            return page(StatusCode::FORBIDDEN);
        }
        let asked = request.headers().get("x-aws-ec2-metadata-token-ttl-seconds");
        let ttl = asked.and_then(|ttl| ttl.to_str().ok()).and_then(|ttl| ttl.parse::<u64>().ok());
        let Some(ttl) = ttl.filter(|ttl| (1..=LONGEST_TTL).contains(ttl)) else {
            return page(StatusCode::BAD_REQUEST);
        };
        let mut state = self.state();
        state.issued += 1;
        let token = format!("token-{}-{}", self.instance_id, state.issued);
        let life = Duration::from_secs(ttl).min(state.longest_ttl.unwrap_or(Duration::MAX));
        state.tokens.insert(token.clone(), Instant::now() + life);
        let answer = Response::builder().header("content-type", "text/plain");
        let answer = answer.header("x-aws-ec2-metadata-token-ttl-seconds", ttl);
        answer.body(token.into()).expect("a valid response")
    }

    fn knows(&self, request: &Request<Incoming>) -> bool {
        let given = request.headers().get("x-aws-ec2-metadata-token").and_then(|token| token.to_str().ok());
        let state = self.state();
        given.and_then(|token| state.tokens.get(token)).is_some_and(|end| Instant::now() < *end)
    }

    /// The categories below one, as cloud-init crawls them: those that have something below them end with a slash.
    fn listing(&self, below: &str) -> Option<Response<Bytes>> {
        let folder = if below.is_empty() { String::new() } else { format!("{below}/") };
        let mut names = BTreeSet::new();
        for leaf in LEAVES.iter().filter(|leaf| self.value(leaf).is_some()) {
            if let Some(rest) = leaf.strip_prefix(folder.as_str()) {
                names.insert(rest.split_once('/').map_or_else(|| rest.to_owned(), |(name, _)| format!("{name}/")));
            }
        }
        let text = names.into_iter().collect::<Vec<_>>().join("\n");
        let answer = Response::builder().header("content-type", "text/plain");
        (!text.is_empty()).then(|| answer.body(text.into()).expect("a valid response"))
    }

    fn value(&self, below: &str) -> Option<Response<Bytes>> {
        let state = self.state();
        let value = match below {
            "user-data" => state.user_data.clone()?,
            "meta-data/ami-id" => IMAGE.to_owned(),
            "meta-data/hostname" | "meta-data/local-hostname" => "ip-172-16-34-43.ec2.internal".to_owned(),
            "meta-data/instance-id" => self.instance_id.clone(),
            "meta-data/instance-type" => "t3.micro".to_owned(),
            "meta-data/instance-life-cycle" => "spot".to_owned(),
            "meta-data/local-ipv4" => {
                state.private_ipv4.map_or_else(|| "172.16.34.43".to_owned(), |address| address.to_string())
            }
            "meta-data/mac" => MAC.to_owned(),
            "meta-data/placement/region" => state.region.clone(),
            "meta-data/placement/availability-zone" => format!("{}a", state.region),
            "meta-data/public-ipv4" => state.public_ipv4?.to_string(),
            "meta-data/ipv6" => state.ipv6?.to_string(),
            "meta-data/autoscaling/target-lifecycle-state" => "InService".to_owned(),
            "meta-data/iam/security-credentials" => "host".to_owned(),
            "meta-data/iam/security-credentials/host" => {
                return Some(document(&self.credentials(state.credentials_life)));
            }
            "meta-data/spot/instance-action" => {
                let (action, time) = state.notice.as_ref()?;
                return Some(document(&json!({ "action": action, "time": seconds(*time) })));
            }
            "meta-data/spot/termination-time" => seconds(state.notice.as_ref()?.1),
            "meta-data/events/recommendations/rebalance" => {
                return Some(document(&json!({ "noticeTime": seconds(state.rebalance?) })));
            }
            "dynamic/instance-identity/document" => {
                return Some(document(&self.identity(&state.region, state.launched)));
            }
            "meta-data/tags/instance" => {
                let mut keys: Vec<_> = state.tags.as_ref()?.keys().cloned().collect();
                keys.sort();
                keys.join("\n")
            }
            other => state.tags.as_ref()?.get(other.strip_prefix("meta-data/tags/instance/")?)?.clone(),
        };
        Some(Response::builder().header("content-type", "text/plain").body(value.into()).expect("a valid response"))
    }

    fn credentials(&self, life: Duration) -> serde_json::Value {
        let now = OffsetDateTime::now_utc();
        json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": seconds(now),
            "Expiration": seconds(now + life),
            "AccessKeyId": self.account.access_key,
            "SecretAccessKey": self.account.secret_key,
            "Token": self.account.session_token,
        })
    }

    fn identity(&self, region: &str, launched: OffsetDateTime) -> serde_json::Value {
        json!({
            "accountId": self.account.id,
            "architecture": "x86_64",
            "availabilityZone": format!("{region}a"),
            "imageId": IMAGE,
            "instanceId": self.instance_id,
            "instanceType": "t3.micro",
            "pendingTime": seconds(launched),
            "privateIp": "172.16.34.43",
            "region": region,
            "version": "2017-09-30",
        })
    }
}

/// The versions of the interface under which all is found: the newest, the first, and the one that cloud-init asks for.
const VERSIONS: [&str; 3] = ["/latest/", "/2009-04-04/", "/2021-03-23/"];

/// What listings name, as far as there is a value.
const LEAVES: [&str; 14] = [
    "user-data",
    "dynamic/instance-identity/document",
    "meta-data/ami-id",
    "meta-data/hostname",
    "meta-data/iam/security-credentials/host",
    "meta-data/instance-id",
    "meta-data/instance-life-cycle",
    "meta-data/instance-type",
    "meta-data/local-hostname",
    "meta-data/local-ipv4",
    "meta-data/mac",
    "meta-data/placement/availability-zone",
    "meta-data/placement/region",
    "meta-data/public-ipv4",
];

const IMAGE: &str = "ami-0123456789abcdef0";

/// The only network interface.
const MAC: &str = "0e:49:61:0f:c3:11";

fn seconds(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).expect("no nanoseconds").format(&Rfc3339).expect("a time of our era")
}

/// JSON as the service writes it: indented, and called plain text.
fn document(value: &serde_json::Value) -> Response<Bytes> {
    let text = serde_json::to_string_pretty(value).expect("JSON");
    Response::builder().header("content-type", "text/plain").body(text.into()).expect("a valid response")
}

/// The page that stands for a status; nothing may read anything from it.
fn page(status: StatusCode) -> Response<Bytes> {
    let title = format!("{} - {}", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html xmlns=\"http://www.w3.org/1999/xhtml\">\n <head>\n  \
         <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    );
    let answer = Response::builder().status(status).header("content-type", "text/html");
    answer.body(text.into()).expect("a valid response")
}
