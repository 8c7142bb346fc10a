//! The application that answers what no file does: requests are passed to it over HTTP/1.1, and its responses passed back, so that
//! neither a slow client holds it up, nor anything is asked of it twice that must not be.
//!
//! A request's content is read before the application is asked (`content`), and its response is taken off it at its own speed
//! (`relay`). A request that may be repeated goes over a connection that is open (`pool`, `connection`), every other over one that
//! was just made: an application closes a connection that is idle at any moment, and what is sent then is lost. While it takes no
//! connections, requests wait for it (`hold`). Requests are written and responses read here, without a client of a library: each byte
//! of a response is judged by what takes it, and what could be read in two ways ends the connection (`request`, `response`).
//! `server/tests/RULES.md` names each rule with its source.

mod chunked;
mod connection;
mod connection_options;
mod content;
mod event_stream;
mod failure;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod hold;
mod lines;
mod parting;
mod pool;
mod relay;
mod request;
mod response;
mod seldom;
mod spill;
mod stream;
mod upgrade;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::body::Body as _;
use tokio::time::Instant;

pub(crate) use self::failure::Failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzzing::responses;
use self::{
    connection::AppConnection, content::UpstreamContent, hold::Hold, pool::Pool, relay::Relay, request::RequestWriter,
    response::ResponseHead, spill::Spills,
};
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
        let bounds = settings.application_bounds.clone();
        let of_clients = &settings.bounds;
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
        let hold = Hold::new(address, own, self.bounds.hold, self.waiting.clone());
        Arc::new(Upstream { pool: Pool::new(), hold, all: self.clone() })
    }
}

impl Upstream {
    /// The application's response, or the one that says why there is none. `head` and `body` are a request that was checked: its
    /// framing, its name, its target. 103 is given to `hints`, where the client may be sent it (RFC 8297, RFC 9110 §15.2).
    pub(crate) async fn answer(
        self: Arc<Self>,
        head: &Parts,
        body: RequestBody,
        client: Client,
        route: Route,
        hints: Option<&EarlyHints>,
    ) -> Answered {
        let mut passage = Passage::default();
        let answered = self.clone().pass(head, body, client, &route, hints, &mut passage).await;
        let mut answered = answered.unwrap_or_else(|failure| {
            passage.failure = Some(failure.error());
            Answered { response: failure.response(self.all.retry_after), file: None }
        });
        self.all.counters.passed(&passage, answered.response.status().as_u16());
        add_fields(&mut answered.response, &route.fields);
        answered.response.body_mut().passed(passage);
        answered
    }

    async fn pass(
        self: Arc<Self>,
        head: &Parts,
        body: RequestBody,
        client: Client,
        route: &Route,
        hints: Option<&EarlyHints>,
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
        let content = if route.streamed {
            UpstreamContent::stream(body, route.body)?
        } else {
            UpstreamContent::read(body, route.body, &self.all.spills, client.address).await?
        };
        let may_repeat = head.method.is_idempotent() && !content.is_some();
        let request = RequestWriter::new(head, client, content.into_body(route.body));
        let (mut connection, response) = self.ask(request, may_repeat, client, route.answer, hints, passage).await?;
        connection.keep(place);
        self.receive(head, connection, *response, client, route).await
    }

    /// Asks the application, once more only where nothing of a response came, and the request may be repeated or was not sent
    /// (RFC 9110 §9.2.2).
    async fn ask(
        &self,
        mut request: RequestWriter,
        may_repeat: bool,
        client: Client,
        patience: Duration,
        hints: Option<&EarlyHints>,
        passage: &mut Passage,
    ) -> Result<(Box<AppConnection>, Box<ResponseHead>), Failure> {
        loop {
            let mut connection = if may_repeat && passage.retries == 0 {
                self.connection(client, passage).await?
            } else {
                self.pool.make_way();
                self.connect(client, passage).await?
            };
            let asked = Instant::now();
            let failure = match connection.ask(request, asked, patience, hints).await {
                Ok(response) => {
                    passage.first_byte = Some(asked.elapsed());
                    return Ok((connection, response));
                }
                Err(failure) => failure,
            };
            let is_lost = failure == Failure::Terminated && !connection.has_begun_response();
            let may_go_again = is_lost && (may_repeat || connection.has_taken_nothing());
            if !may_go_again || passage.retries > 0 {
                return Err(failure);
            }
            request = connection.take_request();
            passage.retries += 1;
        }
    }

    /// A connection that waits, or a new one.
    async fn connection(&self, client: Client, passage: &mut Passage) -> Result<Box<AppConnection>, Failure> {
        if let Some(begun) = self.hold.begin()
            && let Some(mut connection) = self.pool.take()
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
            if let Some((begun, address)) = self.hold.begin_anew() {
                match AppConnection::open(&address).await {
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
        response: ResponseHead,
        client: Client,
        route: &Route,
    ) -> Result<Answered, Failure> {
        let status = response.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::BadUpgrade);
        }
        let file = fields::file(&response);
        let length = response.length;
        let streamed = route.streamed || fields::is_streamed(&response);
        // Content of a known length, or of another kind, would be taken for whole.
        let may_end = length.is_none() && fields::is_event_stream(&response);
        let parting = self.hold.parting().filter(|_| may_end);
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = status;
        *answer.headers_mut() = fields::of_response(response);
        let spills = self.all.spills.clone();
        let relay = Relay::new(connection, self);
        let is_head = head.method == Method::HEAD;
        match status {
            StatusCode::NO_CONTENT => relay.finish(),
            // They say how long the content of another response is, if the application does (RFC 9110 §8.6).
            status if is_head || status == StatusCode::NOT_MODIFIED => {
                relay.finish();
                *answer.body_mut() = Body::unknown();
                if let Some(length) = length {
                    answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
                }
            }
            // It has none either (RFC 9110 §15.3.6), whatever it says.
            StatusCode::RESET_CONTENT => relay.finish(),
            _ => {
                *answer.body_mut() = if streamed {
                    relay.stream(parting)
                } else {
                    relay.buffer(route.answer, spills, client.address).await?
                };
                if let Some(length) = length {
                    answer.body_mut().expect(length);
                }
            }
        }
        answer.body_mut().make_own();
        Ok(Answered { response: answer, file })
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
