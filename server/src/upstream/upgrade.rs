//! WebSockets: the opening of a client is passed to the application, and what follows is tied together once it has accepted it.

use std::{any::Any, sync::Arc};

use http::{HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use tokio::time::Instant;

use super::{Answered, Failure, Upstream, fields, request::RequestWriter};
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
        let parting = self.hold.parting();
        let request = RequestWriter::opening(head, client, extended.then_some(&key));
        // One that was just made: the request must not be sent twice.
        let mut connection = self.connect(client, passage).await?;
        let asked = Instant::now();
        let response = connection.ask(request, asked, route.answer, None).await?;
        passage.first_byte = Some(asked.elapsed());
        // A 2xx would tell a client of HTTP/2 that the tunnel is open (RFC 8441 §5), and content would be frames to it.
        if extended && response.status.is_success() {
            return Err(Failure::BadUpgrade);
        }
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            connection.keep(place);
            return self.receive(head, connection, *response, client, route).await;
        }
        if !websocket::is_accepted(&key, &response.fields) {
            return Err(Failure::BadUpgrade);
        }
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = response.status;
        *answer.headers_mut() = fields::of_switch(*response);
        if extended {
            *answer.status_mut() = StatusCode::OK;
            answer.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        }
        let held: Box<dyn Any + Send + Sync> =
            Box::new((place, connection.take_under_way(), self.all.counters.opens_tunnel()));
        let (stream, first) = connection.into_stream();
        let idle = self.all.bounds.tunnel_idle;
        let content = extended.then_some(content);
        let tunnel = Tunnel { stream, first, idle, held, content, parting };
        answer.extensions_mut().insert(Switch::to(tunnel));
        Ok(Answered { response: answer, file: None })
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
