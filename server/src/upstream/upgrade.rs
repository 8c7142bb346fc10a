//! WebSockets: the opening of a client is passed to the application, and what follows is tied together once it has accepted it.

use std::{any::Any, sync::Arc};

use http::{HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use tokio::time::timeout;

use super::{Answered, Failure, Outgoing, Upstream, fields, request};
use crate::{
    access::Passage,
    body::Body,
    connections::{
        Client, RequestBody, Switch, Tunnel,
        websocket::{self, Handshake},
    },
    respond::Route,
    semantics::target::ExtendedConnect,
};

/// Whether a request opens a WebSocket: over HTTP/1.1 (RFC 6455 §4.1), or over a stream of HTTP/2 (RFC 8441 §5). Another upgrade is
/// none that is passed on: the request is answered as if it did not ask for it (RFC 9110 §7.8).
pub(super) fn is_opening(head: &Parts, route: &Route, has_content: bool) -> bool {
    if is_extended(head) {
        return true;
    }
    route.websocket
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && !has_content
        && websocket::is_asked_for(&head.headers)
}

fn is_extended(head: &Parts) -> bool {
    head.extensions.get::<ExtendedConnect>().is_some()
}

impl Upstream {
    /// Passes the opening of a WebSocket. The application's 101 is passed once it was checked; any other response as it is.
    pub(super) async fn open_websocket(
        self: Arc<Self>,
        head: &Parts,
        content: RequestBody,
        client: Client,
        route: &Route,
        passage: &mut Passage,
    ) -> Result<Answered, Failure> {
        if !route.websocket {
            return Err(Failure::NoWebSocket);
        }
        // Over HTTP/2 there is no key, and the version need not be said.
        let extended = is_extended(head);
        let key = if extended { websocket::key() } else { key_of(head)? };
        let place = self.all.tunnels.take(client.address, 0).ok_or(Failure::Full)?;
        let mut request = request(head, client, Outgoing::Empty);
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if extended {
            *request.method_mut() = Method::GET;
            request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key.clone());
            request.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        // One that was just made: the request must not be sent twice.
        let mut connection = self.connect(client, passage).await?;
        let asked = tokio::time::Instant::now();
        let response = timeout(route.answer, connection.send(request)).await.map_err(|_| Failure::Late)?;
        let response = response.map_err(|failed| super::failure_of(failed.error(), &connection))?;
        passage.first_byte = Some(asked.elapsed());
        // A 2xx would tell a client of HTTP/2 that the tunnel is open (RFC 8441 §5), and content would be frames to it.
        if extended && response.status().is_success() {
            return Err(Failure::BadUpgrade);
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.receive(head, connection, response, client, route).await;
        }
        if !websocket::is_accepted(&key, response.headers()) {
            return Err(Failure::BadUpgrade);
        }
        let (mut parts, _) = response.into_parts();
        fields::of_response(parts.version, &mut parts.headers);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        if extended {
            parts.status = StatusCode::OK;
            parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let held: Box<dyn Any + Send + Sync> =
            Box::new((place, connection.take_under_way(), self.all.counters.opens_tunnel()));
        let (stream, first) = connection.into_stream().await;
        let tunnel = Tunnel {
            stream: Box::new(stream),
            first,
            idle: self.all.bounds.tunnel_idle,
            held,
            content: extended.then_some(content),
        };
        parts.extensions.insert(Switch::to(tunnel));
        Ok(Answered { response: Response::from_parts(parts, Body::empty()), file: None })
    }
}

/// The key of an opening over HTTP/1.1.
fn key_of(head: &Parts) -> Result<HeaderValue, Failure> {
    match websocket::opening(&head.headers) {
        Handshake::Good => head.headers.get(header::SEC_WEBSOCKET_KEY).cloned().ok_or(Failure::Broken),
        Handshake::OtherVersion => Err(Failure::WrongVersion),
        Handshake::Bad => Err(Failure::Broken),
    }
}
