//! From a request to a response that is accounted for, for each protocol and each handler.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{
    body::{Body as _, Incoming},
    service::Service,
};
use tokio::time::timeout;

use super::{Answer, Client, Phase, RequestBody, Switch, Worker, flags::RequestFlags, framing::frame, handler::Later};
use crate::{
    access::Line,
    activity::{Account, Activity, ContentState},
    body::Body,
    semantics::limits,
    trusted_proxy::Told,
};

/// The most content of an HTTP/1 request that is read, so that its connection can go on: more than a form or an API call has.
/// A request that announces more is answered at once.
const MOST_READ: u64 = 64 * 1024;

/// Has the requests of one connection answered.
#[derive(Clone, Debug)]
pub(super) struct Exchanges {
    pub(super) worker: Arc<Worker>,
    pub(super) activity: Arc<Activity>,
    pub(super) flags: Arc<RequestFlags>,
    pub(super) client: Client,
}

/// What is remembered of a request until its response: its head may be the handler's by then.
struct Exchange {
    version: Version,
    is_head: bool,
    /// For whom it is.
    client: Client,
    /// Whether the client waits to be asked for its content (RFC 9110 §10.1.1): who is not may then send it or not.
    expects: bool,
    line: Option<Box<Line>>,
}

impl Exchanges {
    /// The answer to a request of HTTP/2, of which not all fields were kept if it was `too_large`.
    pub(super) fn answer(&self, request: &mut Request<RequestBody>, too_large: bool) -> Answer {
        self.activity.began();
        let begun = self.begin(request);
        let refusal = too_large.then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        // Where it lies: a response is large, and each move of it is as much work as a field.
        let mut answer = self.ask(request, begun.client, refusal);
        match &mut answer {
            Answer::Now(response) => self.respond(begun, response, ContentState::Read),
            Answer::Later(response) => {
                // What the handler has not taken is read and dropped from now on.
                *request.body_mut() = RequestBody::empty();
                response.wrap(|response| self.clone().respond_later(begun, response, RequestBody::empty()));
            }
        }
        answer
    }

    fn begin(&self, request: &mut Request<RequestBody>) -> Exchange {
        let client = self.client_of(request);
        let line = self.worker.log.as_ref().map(|_| Box::new(Line::begin(client.address, request)));
        let expects = !request.body().is_end_stream() && request.headers().contains_key(header::EXPECT);
        Exchange { version: request.version(), is_head: request.method() == Method::HEAD, client, expects, line }
    }

    /// Who asks: the client of the connection, or whom a trusted proxy passes on.
    fn client_of(&self, request: &mut Request<RequestBody>) -> Client {
        let trusted = &self.worker.settings.trusted_proxies;
        if trusted.is_empty() {
            return self.client;
        }
        let Some(told) = Told::by(trusted, self.client.address, request.headers()) else { return self.client };
        told.name(request);
        Client {
            address: told.address.unwrap_or(self.client.address),
            secure: told.secure.unwrap_or(self.client.secure),
        }
    }

    /// Asks the handler, unless the request is refused.
    fn ask(&self, request: &mut Request<RequestBody>, client: Client, refusal: Option<StatusCode>) -> Answer {
        let handler = &self.worker.handler;
        match limits::refusal(&self.worker.settings.bounds, request).or(refusal) {
            Some(status) => Answer::Now(handler.refuse(status, request, client)),
            None => handler.handle(request, client),
        }
    }

    /// The response as it is sent. A client that breaks the rules of HTTP may not mean by its next bytes what they would be taken for
    /// (RFC 9112 §9.3, §11.2): the connection ends.
    fn respond(&self, begun: Exchange, response: &mut Response<Body>, content: ContentState) {
        let confused = matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::URI_TOO_LONG);
        let mut account = self.account(begun.line);
        self.flags.cancel_if_left(response.body().is_streamed());
        frame(begun.version, begun.is_head, response);
        account.answered(response.status());
        self.end(begun.version, account, confused, content, response);
    }

    /// The response of a handler that works it out, and has left that of the content.
    fn respond_later(self, begun: Exchange, response: Later, left: RequestBody) -> Later {
        let mut account = self.account(begun.line);
        account.wait_for_server(true);
        self.flags.cancel_if_left(true);
        Later::new(async move {
            let mut response = response.await;
            account.wait_for_server(false);
            if let Some(passage) = response.body_mut().passage() {
                account.passed(passage);
            }
            if let Some(switch) = response.extensions_mut().remove::<Switch>() {
                account.answered(response.status());
                let mut response = self.switch(begun.version, begun.is_head, &switch, response);
                response.body_mut().charge(account);
                return response;
            }
            frame(begun.version, begun.is_head, &mut response);
            account.answered(response.status());
            let content =
                if left.is_end_stream() { self.activity.content() } else { self.read(left, begun.expects).await };
            self.end(begun.version, account, false, content, &mut response);
            response
        })
    }

    /// A response behind which the connection speaks another protocol (RFC 9110 §15.2.2).
    fn switch(&self, version: Version, is_head: bool, switch: &Switch, mut response: Response<Body>) -> Response<Body> {
        if version != Version::HTTP_11 || response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if let Some(tunnel) = switch.take().filter(|_| version == Version::HTTP_2) {
                *response.body_mut() = tunnel.into_body(self.worker.phase.clone());
            }
            frame(version, is_head, &mut response);
            return response;
        }
        let fields = response.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        self.flags.switch(switch.take());
        response
    }

    /// Ends the connection behind the response, if need be, and has the response accounted for.
    fn end(
        &self,
        version: Version,
        account: Account,
        confused: bool,
        content: ContentState,
        response: &mut Response<Body>,
    ) {
        if version < Version::HTTP_2 {
            let closing = *self.worker.phase.borrow() >= Phase::Lingering;
            if closing || confused || content != ContentState::Read {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            self.flags.lasts_until_close(version == Version::HTTP_10 && response.body().left().is_none());
            if !self.client.secure {
                self.flags.serve_from(response.body_mut().mapped());
            }
        }
        response.body_mut().charge(account);
    }

    /// What has become of the content that a handler has left and answered at once; none if that is to be read before.
    fn left_of(&self, content: &RequestBody, begun: &Exchange) -> Option<ContentState> {
        match content {
            content if content.is_end_stream() => Some(self.activity.content()),
            content if begun.expects || content.size_hint().lower() > MOST_READ => Some(ContentState::Unread),
            _ => None,
        }
    }

    fn account(&self, line: Option<Box<Line>>) -> Account {
        let line = self.worker.log.clone().zip(line);
        Account::new(self.worker.counters.clone(), self.activity.clone(), line)
    }

    /// Reads content that the handler does not want, until enough of it came or none has come for long enough.
    async fn read(&self, content: RequestBody, expects: bool) -> ContentState {
        if expects || content.size_hint().lower() > MOST_READ {
            return ContentState::Unread;
        }
        timeout(self.worker.settings.patience.close, read(content)).await.unwrap_or(ContentState::Unread)
    }

    /// Sends the response once the content has come, or has not for long enough.
    async fn respond_behind(
        self,
        begun: Exchange,
        response: Response<Body>,
        mut request: Request<RequestBody>,
    ) -> Response<Body> {
        let content = self.read(std::mem::take(request.body_mut()), false).await;
        let mut response = match content {
            ContentState::Broken => self.worker.handler.refuse(StatusCode::BAD_REQUEST, &request, begun.client),
            ContentState::Read | ContentState::Unread => response,
        };
        self.respond(begun, &mut response, content);
        response
    }
}

impl Service<Request<Incoming>> for Exchanges {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.began();
        let mut request = request.map(|content| RequestBody::http1(content, &self.activity));
        let begun = self.begin(&mut request);
        let long_target = self.flags.long_target(self.activity.requests()).then_some(StatusCode::URI_TOO_LONG);
        let mut responding = Responding(Some(self.ask(&mut request, begun.client, long_target)));
        match &mut responding.0 {
            Some(Answer::Now(response)) => match self.left_of(request.body(), &begun) {
                Some(content) => self.respond(begun, response, content),
                None => {
                    let response = std::mem::take(response);
                    responding.0 = Some(Answer::later(self.clone().respond_behind(begun, response, request)));
                }
            },
            Some(Answer::Later(response)) => {
                let left = std::mem::take(request.body_mut());
                response.wrap(|response| self.clone().respond_later(begun, response, left));
            }
            None => {}
        }
        responding
    }
}

/// A response to HTTP/1, at once or later.
pub(super) struct Responding(Option<Answer>);

impl Future for Responding {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Answer::Later(response)) = &mut self.0 {
            return Pin::new(response).poll(context).map(Ok);
        }
        match self.0.take() {
            Some(Answer::Now(response)) => Poll::Ready(Ok(response)),
            _ => Poll::Pending,
        }
    }
}

/// Reads content to its end, unless it is more than that.
async fn read(mut content: RequestBody) -> ContentState {
    let mut came = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut content).poll_frame(context)).await {
        match frame {
            Ok(frame) => came += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(_) => return ContentState::Broken,
        }
        if came > MOST_READ {
            return ContentState::Unread;
        }
    }
    ContentState::Read
}
