//! What stands between a host and the services it calls: it records every call, lets through what the caller's policy allows,
//! and goes wrong on request.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header, request::Parts, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio_rustls::rustls::RootCertStore;

use crate::{
    Policy, World,
    connection::{self, AnyClient, Handler, Outcome},
    rights::{Rights, Verdict},
};

mod acme;
mod call;
mod rule;

pub use acme::AcmeProxy;
pub use call::{Call, Kind, Service};
pub use rule::{Fault, Rule};

use rule::Rules;

/// Bytes of a request or an answer; larger ones are refused.
const LARGEST_BODY: usize = 1 << 30;

/// A proxy in front of AWS for one host; cheap to clone.
///
/// The host reaches it through `AWS_ENDPOINT_URL`.
#[derive(Clone, Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    relay: Arc<Relay>,
}

impl FaultProxy {
    /// Starts one in front of the shared world's AWS.
    pub async fn start() -> FaultProxy {
        FaultProxy::before(World::shared().aws()).await
    }

    /// Starts one in front of `upstream`.
    pub async fn before(upstream: SocketAddr) -> FaultProxy {
        let relay = Relay::new(Scheme::HTTP, upstream, RootCertStore::empty());
        let address = connection::serve(relay.clone(), None).await;
        FaultProxy { address, relay }
    }

    /// What `AWS_ENDPOINT_URL` is to say.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule; of several that fit a call the first that is left decides.
    pub fn add(&self, rule: Rule) {
        self.relay.state().rules.add(rule);
    }

    /// Judges every call from now on as one under that configuration: what the policy that is printed for it does not allow is
    /// refused. What calls need is recorded.
    pub fn record_for(&self, configuration: &str) {
        self.relay.state().configuration = Some(configuration.to_owned());
    }

    /// Judges calls by `policy` instead of the one that is printed.
    pub fn obey(&self, policy: &Policy) {
        self.relay.state().rights = Rights::Given(policy.clone());
    }

    /// Allows everything, whatever is printed.
    pub fn allow_everything(&self) {
        self.relay.state().rights = Rights::Everything;
    }

    /// Lifts every rule.
    pub fn lift(&self) {
        self.relay.state().rules.lift();
    }

    /// Lets every call take so much longer, before it is passed on.
    pub fn delay(&self, delay: Duration) {
        self.relay.state().delay = delay;
    }

    /// Every call so far that has ended, in the order of their ends.
    pub fn calls(&self) -> Vec<Call> {
        self.relay.state().calls.clone()
    }

    /// How many calls of that operation have ended.
    pub fn count(&self, operation: &str) -> usize {
        self.calls().iter().filter(|call| call.operation == operation).count()
    }

    /// Whether a call that is to change something is under way.
    pub fn is_writing(&self) -> bool {
        self.relay.state().writing > 0
    }

    /// The calls that were to change something.
    pub fn writes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.kind == Kind::Write).collect()
    }
}

/// The engine of both proxies.
#[derive(Debug)]
struct Relay {
    scheme: Scheme,
    upstream: SocketAddr,
    client: AnyClient,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    configuration: Option<String>,
    rights: Rights,
    rules: Rules,
    delay: Duration,
    calls: Vec<Call>,
    /// Calls under way that are to change something.
    writing: usize,
}

/// What the rights of the caller come to.
#[derive(Clone, Debug, Default)]
struct Judged {
    refusal: Option<Response<Bytes>>,
    /// Whether S3 may tell that a key is not there; none where no caller was judged.
    lists: Option<bool>,
}

impl Judged {
    fn of(call: &Call, verdict: &Verdict, parts: &Parts) -> Judged {
        let head = parts.method == http::Method::HEAD;
        let refusal = verdict.refusal(call);
        let refusal = refusal.map(|(status, code, message)| call.service.refusal(status, code, &message, head));
        Judged { refusal, lists: verdict.lists }
    }
}

impl Relay {
    fn new(scheme: Scheme, upstream: SocketAddr, roots: RootCertStore) -> Arc<Relay> {
        let client = connection::client(roots);
        Arc::new(Relay { scheme, upstream, client, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    /// The answer of the real service, or its refusal; none when it gave none.
    async fn pass(&self, mut parts: Parts, body: Bytes, judged: &Judged) -> Option<Response<Bytes>> {
        if let Some(refusal) = &judged.refusal {
            return Some(refusal.clone());
        }
        if let Some(lists) = judged.lists {
            parts.headers.insert("x-overlay-lists", HeaderValue::from_static(if lists { "yes" } else { "no" }));
        }
        let mut request = Request::from_parts(parts, Full::new(body));
        let path = request.uri().path_and_query().cloned()?;
        *request.uri_mut() = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.upstream.to_string())
            .path_and_query(path)
            .build()
            .ok()?;
        request.headers_mut().remove(header::EXPECT);
        request.headers_mut().remove(header::CONNECTION);
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        let (mut parts, body) = self.client.request(request).await.ok()?.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await.ok()?.to_bytes();
        parts.headers.remove(header::CONNECTION);
        parts.headers.remove(header::TRANSFER_ENCODING);
        if parts.status == StatusCode::NOT_MODIFIED {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        Some(Response::from_parts(parts, body))
    }

    async fn carry_out(
        &self,
        fault: Option<Fault>,
        call: &mut Call,
        (parts, body): (Parts, Bytes),
        judged: &Judged,
    ) -> Outcome {
        match fault {
            Some(Fault::Refuse { status, code, message, retry_after }) => {
                let mut answer = call.service.refusal(status, &code, &message, parts.method == http::Method::HEAD);
                if let Some(seconds) = retry_after {
                    answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                }
                Outcome::Answer(answer)
            }
            Some(Fault::Reset) => Outcome::Reset,
            Some(Fault::Hang) => Outcome::Hang,
            Some(Fault::LoseAnswer) => {
                call.carried = self.pass(parts, body, judged).await.map(|answer| answer.status().as_u16());
                Outcome::Close
            }
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.pass(parts, body, judged).await.map_or(Outcome::Close, Outcome::Answer)
            }
            Some(Fault::Hold) => {
                while !self.state().rules.are_lifted() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                self.pass(parts, body, judged).await.map_or(Outcome::Close, Outcome::Answer)
            }
            Some(Fault::Cut(after)) => {
                self.pass(parts, body, judged).await.map_or(Outcome::Close, |a| Outcome::Cut(a, after))
            }
            Some(Fault::Flip(at)) => {
                self.pass(parts, body, judged).await.map_or(Outcome::Close, |a| Outcome::Answer(flipped(a, at)))
            }
            Some(Fault::Say(now, before)) => {
                let answer = self.pass(parts, body, judged).await;
                answer.map_or(Outcome::Close, |mut answer| {
                    answer.headers_mut().remove(header::CONTENT_LENGTH);
                    let said = |body: Bytes| String::from_utf8_lossy(&body).replace(before, &now).into();
                    Outcome::Answer(answer.map(said))
                })
            }
            Some(Fault::Tell(name, value)) => {
                let answer = self.pass(parts, body, judged).await;
                answer.map_or(Outcome::Close, |mut answer| {
                    answer.headers_mut().insert(name, value.parse().expect("a valid value"));
                    Outcome::Answer(answer)
                })
            }
            None => self.pass(parts, body, judged).await.map_or(Outcome::Close, Outcome::Answer),
        }
    }
}

impl Handler for Relay {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Outcome {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await.map(http_body_util::Collected::to_bytes) else {
            return Outcome::Close;
        };
        let mut call = Call::recognise(&parts, &body, started);
        let (fault, delay, configuration, rights) = {
            let mut state = self.state();
            state.writing += usize::from(call.kind == Kind::Write);
            (state.rules.next(&call), state.delay, state.configuration.clone(), state.rights.clone())
        };
        let judged = match configuration {
            Some(configuration) => Judged::of(&call, &rights.judge(&call, &configuration).await, &parts),
            None => Judged::default(),
        };
        tokio::time::sleep(delay).await;
        let outcome = self.carry_out(fault, &mut call, (parts, body), &judged).await;
        call.ended = Instant::now();
        call.status = match &outcome {
            Outcome::Answer(answer) | Outcome::Cut(answer, _) => Some(answer.status().as_u16()),
            Outcome::Close | Outcome::Reset | Outcome::Hang => None,
        };
        call.carried = call.carried.or(call.status);
        let mut state = self.state();
        state.writing -= usize::from(call.kind == Kind::Write);
        state.calls.push(call);
        drop(state);
        outcome
    }
}

fn flipped(answer: Response<Bytes>, at: usize) -> Response<Bytes> {
    answer.map(|body| {
        let mut bytes = body.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        bytes.into()
    })
}
