//! From a request to a response that is accounted for, whatever the protocol.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::{
    body::{Body as _, Incoming},
    service::Service,
};
use tokio::time::timeout;

use super::{Marks, Phase, Pulse, Worker};
use crate::{
    access::Line,
    account::Account,
    respond::{Asked, Body, Share, answer},
};

/// The most content of an HTTP/1 request that is read, so that its connection can go on: more than a form or an API call has.
/// Whoever announces more is answered at once.
const MOST_READ: u64 = 64 * 1024;

/// Answers the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Answering {
    pub(super) worker: Arc<Worker>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) marks: Arc<Marks>,
    pub(super) address: IpAddr,
    pub(super) secure: bool,
}

/// What became of a request's content, which no page wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// There is none left to come, or what comes does not concern the next request.
    Read,
    /// Some is still to come: the next request would have to be looked for behind it.
    Unread,
    /// It is not framed as it must be, or ended early.
    Broken,
}

impl Answering {
    /// The response to a request of HTTP/2, of which not all fields were kept if it was `too_large`.
    pub(super) fn answer<B>(&self, request: &Request<B>, too_large: bool) -> Response<Body> {
        self.pulse.began();
        self.respond(request, too_large, Content::Read)
    }

    fn respond<B>(&self, request: &Request<B>, too_large: bool, content: Content) -> Response<Body> {
        let (worker, number) = (&self.worker, self.pulse.requests());
        let closing = *worker.phase.borrow() >= Phase::Lingering;
        let asked = Asked {
            names: &worker.names,
            settings: &worker.settings,
            site: worker.site.borrow().clone(),
            inflating: Share { places: &worker.inflating, client: self.address },
            secure: self.secure,
            long_target: self.marks.long_target(number),
            too_large,
            broken: content == Content::Broken,
        };
        if !self.secure && asked.settings.plain {
            self.marks.serve_from(asked.site.as_ref());
        }
        let mut response = answer(&asked, request);
        // Whoever breaks the rules of HTTP may not mean by its next bytes what they would be taken for (RFC 9112 §9.3, §11.2).
        let confused = asked.long_target || response.status() == StatusCode::BAD_REQUEST;
        if request.version() < Version::HTTP_2 && (closing || confused || content != Content::Read) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let mut account = Account::new(worker.counters.clone(), self.pulse.clone(), response.status());
        if let Some(log) = &worker.log {
            account.log(log.clone(), Line::begin(self.address, request, response.status()));
        }
        response.body_mut().charge(account);
        response
    }

    /// Answers once the content has come, or has not for long enough.
    async fn answer_behind(self, request: Request<Incoming>) -> Response<Body> {
        let (head, content) = request.into_parts();
        let content = timeout(self.worker.settings.patience.close, read(content)).await.unwrap_or(Content::Unread);
        self.respond(&Request::from_parts(head, ()), false, content)
    }
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pulse.began();
        // Who waits to be asked for content (RFC 9110 §10.1.1) is not, and may then send it or not.
        let waits = || request.headers().contains_key(header::EXPECT);
        let content = match request.body() {
            content if content.is_end_stream() => Content::Read,
            content if waits() || content.size_hint().lower() > MOST_READ => Content::Unread,
            _ => return Answer { ready: None, behind: Some(Box::pin(self.clone().answer_behind(request))) },
        };
        Answer { ready: Some(self.respond(&request, false, content)), behind: None }
    }
}

/// A response, at once or behind the content of its request.
pub(super) struct Answer {
    ready: Option<Response<Body>>,
    behind: Option<Behind>,
}

/// One that waits for content.
type Behind = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(response) = self.ready.take() {
            return Poll::Ready(Ok(response));
        }
        match &mut self.behind {
            Some(response) => response.as_mut().poll(context).map(Ok),
            None => Poll::Pending,
        }
    }
}

/// Reads content to its end, unless it is more than that.
async fn read(mut content: Incoming) -> Content {
    let mut came = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut content).poll_frame(context)).await {
        match frame {
            Ok(frame) => came += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(_) => return Content::Broken,
        }
        if came > MOST_READ {
            return Content::Unread;
        }
    }
    Content::Read
}
