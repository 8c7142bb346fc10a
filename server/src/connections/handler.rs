//! Where requests find their answer: all that the wire knows of it.

use std::{net::IpAddr, pin::Pin};

use http::{HeaderMap, Request, Response, StatusCode};

use super::{RequestBody, early_hints::EarlyHints};
use crate::body::Body;

/// Answers requests, whatever the protocol that they come by.
///
/// The wire has looked at a request before: its framing is that of RFC 9112 or RFC 9113, and its head is within
/// [`Bounds`](crate::Bounds). Names, methods and targets are the handler's concern, as is what a response says. The wire adds
/// `Date`, frames the content, and sends none where there is none (HEAD, 204, 304: RFC 9110 §6.4.1).
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request. It is called by the task that serves the connection, and must not block.
    ///
    /// A handler that wants the request's content takes it, or the whole request (`std::mem::take`), and answers
    /// [`Later`](Answer::Later). What it leaves is read and dropped within bounds, so that the connection can go on.
    fn handle(&self, request: &mut Request<RequestBody>, client: Client) -> Answer;

    /// Whether WebSockets may be opened over HTTP/2 (RFC 8441 §3): what a connection is told that begins now.
    fn takes_websockets(&self) -> bool {
        false
    }

    /// The response to a request that the wire refuses: its target (414) or its fields (431) are more than is looked at, or its
    /// content is not framed as it must be (400). The request is as far as it was read.
    fn refuse(&self, status: StatusCode, request: &Request<RequestBody>, client: Client) -> Response<Body> {
        let _ = (request, client);
        let mut response = Response::new(Body::from(format!("{status}\n")));
        *response.status_mut() = status;
        response
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address of the client, or of what stands between and is no trusted proxy.
    pub address: IpAddr,
    /// Whether the client's request came over TLS, as far as is known.
    pub secure: bool,
}

/// How a request is answered.
#[expect(clippy::large_enum_variant, reason = "files are answered at once, and want no allocation for it")]
#[derive(Debug)]
pub enum Answer {
    /// At once.
    Now(Response<Body>),
    /// As soon as it is known. The client is not held to be slow for as long as that takes.
    Later(Later),
}

/// A response that is worked out. It is dropped when the client leaves, and when a drain cuts what is left.
pub struct Later {
    response: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
    /// Where what comes before it is found, if anything may.
    hints: Option<EarlyHints>,
}

impl Answer {
    /// The response that this future gives, polled by the task that serves the connection.
    pub fn later(response: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        Self::Later(Later::new(response))
    }
}

impl Later {
    pub(super) fn new(response: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        Self::with_hints(response, None)
    }

    /// A response before which others of 103 may be given to `hints`.
    pub(crate) fn with_hints(
        response: impl Future<Output = Response<Body>> + Send + 'static,
        hints: Option<EarlyHints>,
    ) -> Self {
        Self { response: Box::pin(response), hints }
    }

    /// Has something else done with the response.
    pub(super) fn wrap(&mut self, with: impl FnOnce(Self) -> Self) {
        let hints = self.hints.take();
        let response = std::mem::replace(self, Self::new(std::future::pending()));
        *self = with(response);
        self.hints = hints;
    }

    /// What is to be sent before the response.
    pub(super) fn hints(&self) -> Vec<HeaderMap> {
        self.hints.as_ref().map_or_else(Vec::new, EarlyHints::take)
    }
}

impl Future for Later {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.response.as_mut().poll(context)
    }
}

impl std::fmt::Debug for Later {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Later").finish_non_exhaustive()
    }
}
