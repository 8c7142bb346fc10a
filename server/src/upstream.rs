//! The application that answers what no file does: requests are passed to it over HTTP/1.1, and its responses passed back, so that
//! neither a slow client holds it up, nor anything is asked of it twice that must not be.
//!
//! A request's content is read before the application is asked (`content`), and its response is taken off it at its own speed
//! (`relay`). A request that may be repeated goes over a connection that is open (`pool`, `connection`), every other over one that
//! was just made: an application closes a connection that is idle at any moment, and what is sent then is lost. While it takes no
//! connections, requests wait for it (`hold`). Each byte of its responses is looked at, and what could be read in two ways ends the
//! connection (`connections::scan`). `server/tests/RULES.md` names each rule with its source.

mod connection;
mod content;
mod failure;
mod fields;
mod hold;
mod parting;
mod pool;
mod relay;
mod spill;
mod turn;
mod upgrade;

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts, uri};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::TrySendError,
};
use tokio::time::{Instant, timeout_at};

use self::{
    connection::AppConnection,
    content::{Outgoing, UpstreamContent, WhoseTurn},
    hold::Hold,
    pool::Pool,
    relay::Relay,
    spill::Spills,
};
pub(crate) use self::{failure::Failure, turn::Turn};
use crate::{
    access::Passage,
    application::{ApplicationAddress, ApplicationBounds, OwnApplication},
    body::Body,
    connections::{Client, EarlyHints, RequestBody},
    counters::Counters,
    quota::Quota,
    respond::Route,
    settings::Settings,
};

/// The applications of a server: one after the other, or beside each other while one follows the other. What their visitors cost is
/// bounded for all of them together.
#[derive(Debug)]
pub(crate) struct Upstreams {
    bounds: ApplicationBounds,
    /// Requests that wait for an application.
    waiting: Arc<Quota>,
    spills: Arc<Spills>,
    /// Requests whose content is read, that wait, or whose response has not come to its end.
    requests: Arc<Quota>,
    /// WebSockets that are open.
    tunnels: Arc<Quota>,
    counters: Arc<Counters>,
    /// What `Retry-After` says.
    retry_after: Duration,
}

/// An application, and the connections to it.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: ApplicationAddress,
    pool: Pool,
    hold: Arc<Hold>,
    all: Arc<Upstreams>,
}

/// A response, and the file that the application wants sent instead of its content.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response<Body>,
    /// As `X-Accel-Redirect` or `X-Sendfile` names it.
    pub(crate) file: Option<HeaderValue>,
}

impl Upstreams {
    /// As many requests at once as the settings allow connections of clients: each costs a descriptor too, and HTTP/2 must not buy more
    /// of them.
    pub(crate) fn new(settings: &Settings, counters: Arc<Counters>) -> Arc<Self> {
        let (bounds, of_clients) = (settings.application_bounds.clone(), &settings.bounds);
        Arc::new(Self {
            waiting: Quota::new(bounds.queue, bounds.queue_per_address),
            spills: Spills::new(bounds.spill.clone(), bounds.spilled, bounds.spilled_per_address),
            requests: Quota::new(of_clients.connections, of_clients.connections_per_address),
            tunnels: Quota::new(bounds.tunnels, bounds.tunnels_per_address),
            counters,
            retry_after: settings.patience.retry_after,
            bounds,
        })
    }

    /// The application that somebody else runs at `address`.
    pub(crate) fn at(self: &Arc<Self>, address: ApplicationAddress) -> Arc<Upstream> {
        self.upstream(address, None)
    }

    /// The application of a package.
    pub(crate) fn of(self: &Arc<Self>, application: OwnApplication) -> Arc<Upstream> {
        self.upstream(application.address.clone(), Some(application))
    }

    fn upstream(self: &Arc<Self>, address: ApplicationAddress, own: Option<OwnApplication>) -> Arc<Upstream> {
        let hold = Hold::new(address.clone(), own, self.bounds.hold, self.waiting.clone());
        Arc::new(Upstream { address, pool: Pool::new(), hold, all: self.clone() })
    }
}

impl Upstream {
    /// The application's response, or the one that says why there is none. `head` and `body` are a request that was checked: its
    /// framing, its name, its target.
    pub(crate) async fn answer(
        self: Arc<Self>,
        head: &Parts,
        body: RequestBody,
        client: Client,
        route: Route,
    ) -> Answered {
        let mut passage = Passage::default();
        let answered = self.clone().pass(head, body, client, &route, &mut passage).await;
        let mut answered = answered.unwrap_or_else(|failure| {
            passage.failure = Some(failure.error());
            Answered { response: failure.response(self.all.retry_after), file: None }
        });
        self.all.counters.passed(&passage, answered.response.status().as_u16());
        add_fields(&mut answered.response, &route.fields);
        answered.response.extensions_mut().insert(passage);
        answered
    }

    async fn pass(
        self: Arc<Self>,
        head: &Parts,
        body: RequestBody,
        client: Client,
        route: &Route,
        passage: &mut Passage,
    ) -> Result<Answered, Failure> {
        if fields::has_come_by(&head.headers) {
            return Err(Failure::Loop);
        }
        if fields::is_early(&head.headers) && !head.method.is_safe() {
            return Err(Failure::TooEarly);
        }
        if upgrade::is_opening(head, route, !body.is_end_stream()) {
            return self.open_websocket(head, body, client, route, passage).await;
        }
        let place = self.all.requests.take(client.address, 0).ok_or(Failure::Full)?;
        let content = match route.streamed {
            true => UpstreamContent::stream(body, route.body)?,
            false => UpstreamContent::read(body, route.body, &self.all.spills, client.address).await?,
        };
        let may_repeat = head.method.is_idempotent() && !content.is_some();
        let mut request = request(head, client, content.into_body(route.body));
        pass_hints(head, &mut request);
        let (mut connection, response) = self.ask(head, request, may_repeat, client, route.answer, passage).await?;
        connection.keep(place);
        self.receive(head, connection, response, client, route).await
    }

    /// Asks the application, once more only where nothing of a response came, and the request may be repeated or was not sent
    /// (RFC 9110 §9.2.2).
    async fn ask(
        &self,
        head: &Parts,
        mut request: Request<Outgoing>,
        may_repeat: bool,
        client: Client,
        patience: Duration,
        passage: &mut Passage,
    ) -> Result<(Box<AppConnection>, Response<Incoming>), Failure> {
        loop {
            let mut connection = match may_repeat && passage.retries == 0 {
                true => self.connection(client, passage).await?,
                false => self.connect(client, passage).await?,
            };
            let asked = Instant::now();
            let turn = request.body().turn();
            let failed = match in_time(patience, turn.as_ref(), connection.send(request)).await {
                Some(Ok(response)) => {
                    passage.first_byte = Some(asked.elapsed());
                    return Ok((connection, response));
                }
                Some(Err(failed)) => failed,
                None => return Err(Failure::Late),
            };
            if passage.retries > 0 {
                return Err(failure_of(failed.error(), &connection));
            }
            request = retriable(failed, may_repeat, &connection, || self::request(head, client, Outgoing::Empty))?;
            passage.retries += 1;
        }
    }

    /// A connection that waits, or a new one.
    async fn connection(&self, client: Client, passage: &mut Passage) -> Result<Box<AppConnection>, Failure> {
        if let Some(begun) = self.hold.begin()
            && let Some(mut connection) = poll_fn(|context| Poll::Ready(self.pool.take(context))).await
        {
            connection.begin(begun);
            return Ok(connection);
        }
        self.connect(client, passage).await
    }

    /// A new connection, be it after a while.
    async fn connect(&self, client: Client, passage: &mut Passage) -> Result<Box<AppConnection>, Failure> {
        let mut waits: Option<Instant> = None;
        loop {
            if let Some(begun) = self.hold.begin() {
                match AppConnection::open(&self.address).await {
                    Err(Failure::Refused) => {}
                    opened => {
                        let mut connection = opened?;
                        connection.begin(begun);
                        return Ok(connection);
                    }
                }
            }
            let began = Instant::now();
            let until = *waits.get_or_insert_with(|| self.hold.until());
            let _held = self.all.counters.holds();
            let waited = self.hold.wait(client.address, until).await;
            passage.held += began.elapsed();
            waited?;
        }
    }

    /// Passes the response.
    async fn receive(
        self: Arc<Self>,
        head: &Parts,
        connection: Box<AppConnection>,
        response: Response<Incoming>,
        client: Client,
        route: &Route,
    ) -> Result<Answered, Failure> {
        let (mut parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::BadUpgrade);
        }
        let file =
            [fields::X_ACCEL_REDIRECT, fields::X_SENDFILE].iter().find_map(|name| parts.headers.get(name)).cloned();
        let streamed = route.streamed || fields::is_streamed(&parts.headers);
        fields::of_response(parts.version, &mut parts.headers);
        parts.version = Version::HTTP_11;
        let spills = self.all.spills.clone();
        let relay = Relay::new(connection, incoming, self);
        let body = match parts.status {
            status
                if head.method == Method::HEAD
                    || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) =>
            {
                relay.finish().await;
                Body::empty()
            }
            // It has none either (RFC 9110 §15.3.6), whatever it says.
            StatusCode::RESET_CONTENT => {
                parts.headers.remove(header::CONTENT_LENGTH);
                Body::empty()
            }
            _ if streamed => relay.stream(),
            _ => relay.buffer(route.answer, spills, client.address).await?,
        };
        Ok(Answered { response: Response::from_parts(parts, body), file })
    }
}

/// What comes of `future`, unless the application is waited for longer than `patience`. While content is streamed, a client that is slow
/// to send it is not the application's fault.
async fn in_time<T>(patience: Duration, turn: Option<&WhoseTurn>, future: impl Future<Output = T>) -> Option<T> {
    let begun = Instant::now();
    let mut future = pin!(future);
    if let Some(turn) = turn {
        turn.set(Some(begun));
    }
    loop {
        let since = turn.map_or(Some(begun), WhoseTurn::since);
        let until = since.unwrap_or_else(Instant::now) + patience;
        if let Ok(done) = timeout_at(until, future.as_mut()).await {
            return Some(done);
        }
        if since.is_some() && turn.is_none_or(|turn| turn.since() == since) {
            return None;
        }
    }
}

/// A request to the application: its target byte for byte as it came, in origin form (RFC 9112 §3.2.1).
fn request(head: &Parts, client: Client, content: Outgoing) -> Request<Outgoing> {
    let mut request = Request::new(content);
    *request.method_mut() = head.method.clone();
    let mut target = uri::Parts::default();
    target.path_and_query = head.uri.path_and_query().cloned();
    *request.uri_mut() = http::Uri::from_parts(target).unwrap_or_default();
    *request.headers_mut() = fields::of_request(head, client);
    frame(&mut request);
    request
}

/// Says how the content is framed where hyper would not: that there is none, where the method lets one expect it (RFC 9110 §8.6), and
/// that some of a length that is not known comes, where the method lets one expect none.
fn frame(request: &mut Request<Outgoing>) {
    if request.body().is_end_stream() {
        if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Has 103 of the application passed, where the client may be sent it (RFC 8297, RFC 9110 §15.2). No other 1xx says anything to it.
fn pass_hints(head: &Parts, request: &mut Request<Outgoing>) {
    let Some(hints) = head.extensions.get::<EarlyHints>().cloned() else { return };
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::EARLY_HINTS {
            let mut fields = response.headers().clone();
            fields::of_response(Version::HTTP_11, &mut fields);
            fields.remove(header::CONTENT_LENGTH);
            hints.give(fields);
        }
    });
}

/// The request that may be sent once more: what was not sent, or what may be repeated of which no response came.
fn retriable(
    mut failed: TrySendError<Request<Outgoing>>,
    may_repeat: bool,
    connection: &AppConnection,
    again: impl FnOnce() -> Request<Outgoing>,
) -> Result<Request<Outgoing>, Failure> {
    if let Some(unsent) = failed.take_message() {
        return Ok(unsent);
    }
    if may_repeat && !connection.has_begun_response() {
        return Ok(again());
    }
    Err(failure_of(failed.error(), connection))
}

/// Why a response did not come.
fn failure_of(error: &hyper::Error, connection: &AppConnection) -> Failure {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::FileTooLarge) => Failure::TooLarge,
        _ if error.is_user() => Failure::Broken,
        Some(io::ErrorKind::InvalidData) => Failure::Malformed,
        _ if error.is_parse() => Failure::Malformed,
        _ if connection.has_begun_response() && !error.is_incomplete_message() => Failure::Malformed,
        _ => Failure::Terminated,
    }
}

/// Adds fields that the application does not say, but for those that it alone knows of its content.
fn add_fields(response: &mut Response<Body>, fields: &HeaderMap) {
    for name in fields.keys() {
        let its_own = *name == header::SET_COOKIE || *name == header::CACHE_CONTROL || is_about_content(name.as_str());
        if its_own || response.headers().contains_key(name) {
            continue;
        }
        for value in fields.get_all(name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
}

/// Whether a field is about the content (RFC 9110 §8), as most are whose names begin so.
fn is_about_content(name: &str) -> bool {
    name.starts_with("content-") && !name.starts_with("content-security-policy")
}
